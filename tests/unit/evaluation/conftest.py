"""A random model with a random SAE, and the evaluation of it: small enough for seconds."""

from __future__ import annotations

import pytest
from evaluation_small import make_sae, make_texts

from analyses.evaluation import evaluate
from analyses.evaluation.label_sets import labelled
from interp.testing import tiny_model


@pytest.fixture(scope="session")
def model():
    return tiny_model(0)


@pytest.fixture(scope="session")
def twin():
    return tiny_model(1)


@pytest.fixture(scope="session")
def texts() -> list[str]:
    return make_texts(60, 0)


@pytest.fixture(scope="session")
def result(model, twin, texts):
    ends = make_texts(400, 1)
    sets = {"last word": labelled(ends, [text.split()[-1] for text in ends])}
    control = (make_sae(twin), twin)
    return evaluate(make_sae(model), model, texts, seed=0, label_sets=sets, control=control, n_boot=50)
