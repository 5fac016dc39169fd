"""A study that runs in a second, for the tests of its parts."""

from types import SimpleNamespace

import pytest
from geo_small import make_places, make_sae

from analyses.geospatial.run import autocorrelation_study
from analyses.geospatial.study import StudyConfig
from interp.testing import tiny_model


@pytest.fixture(scope="session")
def small():
    """What the tests of the study share, none of it ever changed: model, twin, sae, places, config."""
    model = tiny_model(0)
    return SimpleNamespace(
        model=model,
        twin=tiny_model(1),
        sae=make_sae(model),
        dead_sae=make_sae(model, dead=True),
        places=make_places(),
        config=StudyConfig(k=5, permutations=199, min_active=5),
    )


@pytest.fixture(scope="session")
def studied(small):
    """The result of the study on `small`."""
    return autocorrelation_study(small.model, small.sae, small.places, twin=small.twin, config=small.config)
