"""Which latents are changed, and of which tokens."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.errors import InvalidInput
from interp.sae.edits import check_positions, chosen, make_edits

LATENTS = torch.arange(1.0, 13.0).reshape(3, 4)


def test_edits_set_latents_and_leave_the_others_and_the_argument():
    before = LATENTS.clone()
    edited = make_edits(4, ablate=[1], steer={3: 2.5}).apply(LATENTS)
    assert edited[:, 1].tolist() == [0.0] * 3
    assert edited[:, 3].tolist() == [2.5] * 3
    assert torch.equal(edited[:, [0, 2]], before[:, [0, 2]])
    assert torch.equal(LATENTS, before)


def test_numpy_integers_are_latents():
    assert make_edits(4, ablate=np.array([2])).latents == (2,)


@pytest.mark.parametrize(
    ("kwargs", "match"),
    [
        ({"ablate": [4]}, "latent is an integer from 0 to 3, not 4"),
        ({"ablate": [-1]}, "from 0 to 3, not -1"),
        ({"ablate": [True]}, "not True"),
        ({"ablate": ["2"]}, "not '2'"),
        ({"ablate": [2, 2]}, "latent 2 is named twice"),
        ({"ablate": [2], "steer": {2: 1.0}}, "latent 2 is named twice"),
        ({"steer": {1: float("nan")}}, "latent 1 is steered to a finite number, not nan"),
        ({"steer": {1: True}}, "not True"),
    ],
)
def test_edits_that_cannot_be_made_are_refused(kwargs, match):
    with pytest.raises(InvalidInput, match=match):
        make_edits(4, **kwargs)


CPU = torch.device("cpu")


def test_positions_become_a_mask():
    mask = np.array([[True, False, True], [False, False, True]])
    assert chosen(check_positions(mask), 2, 3, CPU).tolist() == mask.tolist()
    assert chosen(check_positions([0, 2]), 2, 3, CPU).tolist() == [[True, False, True]] * 2
    assert chosen(check_positions(range(1, 3)), 1, 3, CPU).tolist() == [[False, True, True]]
    assert bool(chosen(check_positions("all"), 2, 3, CPU).all())


@pytest.mark.parametrize(
    "positions", [None, "last", 3, [-1], [], [0.5], torch.ones(3, dtype=torch.bool), torch.ones(2, 3), object()]
)
def test_positions_that_say_nothing_clear_are_refused(positions):
    with pytest.raises(InvalidInput, match="positions is a bool mask"):
        check_positions(positions)


def test_positions_outside_the_batch_are_refused():
    with pytest.raises(InvalidInput, match="position 3 is beyond the 3 positions"):
        chosen(check_positions([3]), 2, 3, CPU)
    with pytest.raises(InvalidInput, match=r"mask of positions is \[2, 4\] and the model ran a batch of \[2, 3\]"):
        chosen(check_positions(torch.ones(2, 4, dtype=torch.bool)), 2, 3, CPU)
