"""Train the same SAE from several seeds and keep one, chosen without labels."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from interp.errors import InvalidInput
from interp.sae.coder import SAE
from interp.sae.config import SaeConfig
from interp.sae.train import train_sae

FVU_SLACK = 0.01


def train_restarts(
    batches: Any,
    config: SaeConfig | None = None,
    *,
    restarts: int = 3,
    seed: int,
    held_out: np.ndarray | Tensor,
    fvu_slack: float = FVU_SLACK,
    checkpoint_dir: str | Path | None = None,
    **training: Any,
) -> tuple[SAE, pd.DataFrame]:
    """Train from `restarts` seeds and return the SAE with the fewest latents on among those that explain as much.

    Where reconstructions tie, a dictionary that needs more latents for them has missed a direction and pays with
    several: of Matching Pursuit SAEs on features in a tree, those of the lowest L0 were those that had found it.

    Args:
        batches: activations as `train_sae` takes them; they have to be readable once a restart.
        held_out: [n, d_in], on which L0 and FVU are measured; not among those trained on.
        fvu_slack: an SAE takes part where its FVU is within this of the lowest.
        checkpoint_dir: each restart has a folder in it, so that a call that was stopped goes on.
        training: everything else of `train_sae` (arch, options, steps, device, ...).

    Returns:
        The SAE, and a row a restart: restart, seed (its own), l0, fvu, kept, n (rows held out).

    Raises:
        InvalidInput: fewer than 1 restart, a stream that can be read only once, or fewer than 2 held-out rows.
    """
    if isinstance(restarts, bool) or not isinstance(restarts, int) or restarts < 1:
        raise InvalidInput(f"restarts is an integer from 1, not {restarts!r}.")
    if restarts > 1 and isinstance(batches, Iterator):
        raise InvalidInput(f"{restarts} restarts read the activations as often; give an array, a list or a function.")
    rows = torch.as_tensor(held_out).to(torch.float32)
    if rows.ndim != 2 or len(rows) < 2:
        raise InvalidInput(f"held_out is [n, d_in] with n > 1; given {list(rows.shape)}.")
    saes, table = [], []
    for i in range(restarts):
        own = int(np.random.SeedSequence(seed, spawn_key=(i,)).generate_state(1)[0])
        folder = None if checkpoint_dir is None else Path(checkpoint_dir) / f"restart_{i}"
        sae, _ = train_sae(batches, config, seed=own, checkpoint_dir=folder, **training)
        saes.append(sae)
        table.append({"restart": i, "seed": own, **_measured(sae, rows)})
    best = min(row["fvu"] for row in table)
    kept = min((row["l0"], row["restart"]) for row in table if row["fvu"] <= best + fvu_slack)[1]
    frame = pd.DataFrame(table)
    return saes[kept], frame.assign(kept=frame["restart"] == kept, n=len(rows))


def _measured(sae: SAE, rows: Tensor) -> dict[str, float]:
    l0 = float((sae.encode(rows) > 0).sum(dim=1).double().mean())
    left = (sae(rows) - rows).double().square().sum()
    return {"l0": l0, "fvu": float(left / (rows - rows.mean(dim=0)).double().square().sum())}
