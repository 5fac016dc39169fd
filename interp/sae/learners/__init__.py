"""The architectures that can be trained, one a file: how each starts, what it minimises, what it ends as."""

from __future__ import annotations

from interp.sae.learner import Learner, Options
from interp.sae.learners.batchtopk import BatchTopKLearner, BatchTopKOptions
from interp.sae.learners.gated import GatedLearner, GatedOptions
from interp.sae.learners.gba import GbaLearner, GbaOptions
from interp.sae.learners.jumprelu import JumpReluLearner, JumpReluOptions
from interp.sae.learners.matching_pursuit import MatchingPursuitLearner, MatchingPursuitOptions
from interp.sae.learners.matryoshka import MatryoshkaLearner, MatryoshkaOptions
from interp.sae.learners.relu import ReluLearner, ReluOptions
from interp.sae.learners.topk import TopKLearner, TopKOptions

TRAINABLE: dict[str, tuple[type[Learner], type[Options]]] = {
    "topk": (TopKLearner, TopKOptions),
    "gba": (GbaLearner, GbaOptions),
    "batchtopk": (BatchTopKLearner, BatchTopKOptions),
    "matryoshka": (MatryoshkaLearner, MatryoshkaOptions),
    "relu": (ReluLearner, ReluOptions),
    "gated": (GatedLearner, GatedOptions),
    "jumprelu": (JumpReluLearner, JumpReluOptions),
    "matching_pursuit": (MatchingPursuitLearner, MatchingPursuitOptions),
}
"""Name of an architecture -> how it is trained, and what has to be chosen for it."""
