"""A tiny model, a TopK SAE with random directions that reads it, and a small pool with a task in it."""

import pytest
from selection_pool import rows_of, tiny_sae

from analyses.data_selection import read_samples
from interp.testing import tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model()


@pytest.fixture(scope="session")
def sae(model):
    return tiny_sae(model)


@pytest.fixture(scope="session")
def samples():
    return read_samples(rows_of(40, 0))
