"""Fixtures of the SAE tests."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from sae_planted import config_of, random_sae

from interp.sae.coder import SAE


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def make_sae() -> Callable[..., SAE]:
    def make(architecture: str = "topk", *, seed: int = 0, **stated) -> SAE:
        return random_sae(config_of(architecture, **stated), seed=seed)

    return make
