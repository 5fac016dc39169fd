"""One world and one corpus for the tests of the text generator."""

import numpy as np
import pytest

from interp.atlas.corpus import Corpus, Text
from interp.atlas.world import default_world


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    return Corpus(default_world())


@pytest.fixture(scope="session")
def texts(corpus) -> list[Text]:
    rng = np.random.default_rng(3)
    return [corpus.document(rng) for _ in range(8000)]
