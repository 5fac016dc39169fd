"""Two cues that are worth the same, each seen by one seed: side by side they survive the loss of either."""

from __future__ import annotations

import numpy as np
import pytest

from analyses.probing import concat_probe
from analyses.probing.concatenated import IN_DOMAIN, MATCHED, TOGETHER, WIDER
from interp.errors import InvalidInput

N, D = 600, 8


def cues(seed: int, *, first: bool = True, second: bool = True):
    """Return parts of two seeds, one cue each, and labels; a cue that is missing is 0."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, N)
    parts = {}
    for name, there in (("seed 0", first), ("seed 1", second)):
        cue = there * (2 * y - 1.0)[:, None] * np.array([3.0] + [0.0] * (D - 1))
        parts[name] = cue + 0.5 * rng.standard_normal((N, D))
    return parts, np.array(["no", "yes"])[y]


def table(parts, y, **options):
    found = concat_probe(parts, y, seed=0, n_boot=20, **options)
    return found.set_index(["representation", "set"])["score"], found


def test_the_whole_is_better_only_where_a_cue_is_missing():
    parts, y = cues(0)
    shifted = {"no first cue": cues(1, first=False), "no second cue": cues(2, second=False)}
    scores, found = table(parts, y, shifted=shifted)
    for name in ("seed 0", "seed 1", TOGETHER, MATCHED):
        assert scores[name, IN_DOMAIN] > 0.99
    assert scores["seed 0", "no first cue"] == pytest.approx(0.5, abs=0.07)
    assert scores["seed 1", "no second cue"] == pytest.approx(0.5, abs=0.07)
    for name in (TOGETHER, MATCHED):  # not for its width: at the size of one it is as good
        assert scores[name, "no first cue"] > 0.95
        assert scores[name, "no second cue"] > 0.95
    widths = found.drop_duplicates("representation").set_index("representation")["n_columns"]
    assert dict(widths) == {"seed 0": D, "seed 1": D, TOGETHER: 2 * D, MATCHED: D}


def test_a_wider_representation_with_one_cue_does_not_survive_it():
    parts, y = cues(0)
    shift = cues(1, first=False)
    wide = tuple(np.concatenate([p["seed 0"], np.random.default_rng(i).standard_normal((N, D))], axis=1)
                 for i, p in ((3, parts), (4, shift[0])))  # fmt: skip
    scores, _ = table(parts, y, shifted={"shift": shift}, wider=(wide[0], {"shift": wide[1]}))
    assert scores[WIDER, IN_DOMAIN] > 0.99
    assert scores[WIDER, "shift"] < 0.6 < 0.95 < scores[TOGETHER, "shift"]


def test_labels_of_nothing_are_told_by_no_representation():
    parts, _ = cues(0)
    scores, _ = table(parts, np.random.default_rng(9).integers(0, 2, N))
    assert (abs(scores - 0.5) < 0.12).all()


def test_numbers_and_units_of_parts_do_not_matter():
    rng = np.random.default_rng(0)
    y = rng.standard_normal(N)
    parts = {"a": y[:, None] + rng.standard_normal((N, 3)), "b": 1e4 * (y[:, None] + rng.standard_normal((N, 3)))}
    scores, _ = table(parts, y)
    same, _ = table({"a": parts["a"], "b": parts["b"] / 1e4}, y)
    np.testing.assert_allclose(scores, same, rtol=1e-6)
    assert scores[TOGETHER, IN_DOMAIN] > max(scores["a", IN_DOMAIN], scores["b", IN_DOMAIN]) + 0.03


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, y: concat_probe({"a": p["seed 0"]}, y), "at least two"),
        (lambda p, y: concat_probe(p, y, shifted={"s": ({"seed 0": p["seed 0"]}, y)}), "expected"),
        (lambda p, y: concat_probe(p, y, shifted={"s": (p, np.full(N, "maybe"))}), "maybe"),
        (lambda p, y: concat_probe(p, y, shifted={"s": ({k: v[:, :2] for k, v in p.items()}, y)}), "columns"),
    ],
)
def test_what_does_not_fit_is_refused(change, message):
    with pytest.raises(InvalidInput, match=message):
        change(*cues(0))
