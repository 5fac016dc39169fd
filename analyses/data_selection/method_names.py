"""The names of the methods, in one place for the command line, the evaluation and the checks of both."""

from __future__ import annotations

from interp.errors import InvalidInput, nearest

SCORES = {
    "mona": "J(z, t) with the mean code t of the target, as published; prefers long samples",
    "background": "J(z, t) - J(z, b), b the mean code of the pool; prefers short ones",
    "matched": "J(z, t) against random targets of as many tokens",
    "contrast": "J(z, max(t - b, 0)): what the target has more than the pool",
    "adjusted": "the contrast among samples of like length",
    "cosine": "cosine of z and t",
}
"""Scores of codes with one prototype of the target."""
CODE_METHODS = {
    **SCORES,
    "causal": "J with the features alone whose ablation raises the loss of the target",
    "each-target": "background with each target example, which pick in turn",
    "coverage": "greedy: what covers most of the target's features that are still missing",
}
"""Methods that read the codes of the SAE."""
NAMES = {
    **CODE_METHODS,
    "neurons": "mona on the most active MLP neurons, no SAE",
    "residual": "cosine of mean activations",
    "residual-centred": "the same, with the mean of the pool taken off",
    "rds+": "cosine of position-weighted activations of the last layer, examples in turn",
    "gradient": "cosine of gradients, examples in turn (LESS at one checkpoint)",
    "transport": "optimal transport of mean activations with a density penalty (TSDS)",
    "bm25": "BM25, examples in turn",
    "tf-idf": "cosine of TF-IDF",
    "dsir": "importance weights of words and pairs of words, the top",
    "dsir-gumbel": "the same, sampled",
    "random-sae": "mona with an SAE of random directions",
    "shuffled-target": "mona with the target's values dealt to other features",
    "longest": "the longest",
    "length-matched": "random, with the lengths of the target",
}
"""All methods but "random", which every comparison is made with."""
WORD_METHODS = ("bm25", "tf-idf", "dsir", "dsir-gumbel")
CONTROLS = ("random-sae", "shuffled-target", "longest", "length-matched")
DEFAULT_METHOD = "adjusted"
BOUNDED = ("mona", "background", "contrast")
"""Scores that have bounds where entries of a code were dropped."""
EXPLAINED = tuple(name for name in SCORES if name != "cosine")
"""Scores that are sums over features."""


def check_method(name: str) -> str:
    """Return the name of a method, "random" too. Raises InvalidInput for any other."""
    if name not in (*NAMES, "random"):
        near = ", ".join(map(repr, nearest(name, (*NAMES, "random"))))
        raise InvalidInput(f"there is no method {name!r}. Nearest: {near}.")
    return name
