"""Train the bundled model: torch and numpy alone, CPU or GPU, exact resumption.

Everything is counted in tokens, never in seconds, so that a loaded machine gives the same model. A
checkpoint holds weights, optimiser moments and the step; batches are pure functions of the step, so a
run that was killed goes on bit for bit as if it had not been.

    python -m interp.atlas.train --folder runs/atlas --tokens 12e6
"""

from __future__ import annotations

import argparse
import io
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from interp.atlas.data import IGNORE, batch_at, repeat_row, schedule
from interp.atlas.network import Network, NetworkConfig
from interp.store import atomic_write_bytes


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run."""

    tokens: int = 12_000_000
    batch_rows: int = 32
    lr: float = 3e-3
    warmup: float = 0.03  # share of the steps
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    eval_every: int = 200
    checkpoint_every: int = 200

    def n_steps(self, n_ctx: int) -> int:
        """Return the number of steps that the tokens give."""
        return max(1, self.tokens // (self.batch_rows * n_ctx))


def rate_at(step: int, n_steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step: linear warm-up, then a cosine to zero."""
    warm = max(1, round(config.warmup * n_steps))
    if step < warm:
        return config.lr * (step + 1) / warm
    return config.lr * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, n_steps - warm)))


def make_optimiser(network: Network, config: TrainConfig) -> torch.optim.AdamW:
    """Return AdamW with weight decay on matrices alone."""
    matrices = [p for p in network.parameters() if p.dim() >= 2]
    vectors = [p for p in network.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=config.lr, betas=(0.9, 0.95), fused=True)


def loss_of(network: Network, ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the mean next-token loss in nats over positions that carry one."""
    return F.cross_entropy(network(ids).flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORE)


@torch.no_grad()
def evaluate(network: Network, rows: np.ndarray, seed: int) -> dict[str, float]:
    """Return the loss in nats on held-out text and on random repeats after the first period."""
    c = network.config
    device = next(network.parameters()).device
    text = torch.from_numpy(rows.astype(np.int64)).to(device)
    rng = np.random.default_rng(np.random.SeedSequence([seed, 11]))
    made = [repeat_row(rng, c.n_ctx, c.vocab_size) for _ in range(16)]
    ids = torch.from_numpy(np.stack([m[0] for m in made])).to(device)
    targets = torch.from_numpy(np.stack([m[1] for m in made])).to(device)
    logits = network(text[:, :-1])
    text_loss = F.cross_entropy(logits.flatten(0, 1).float(), text[:, 1:].flatten())
    return {"text_loss": float(text_loss), "repeat_loss": float(loss_of(network, ids, targets))}


def save_checkpoint(path: Path, network: Network, optimiser: torch.optim.AdamW, step: int) -> None:
    """Write weights, moments and step as one npz, whole or not at all."""
    arrays: dict[str, np.ndarray] = {"step": np.array(step)}
    for name, p in network.named_parameters():
        arrays[f"weight/{name}"] = p.detach().cpu().numpy()
        for key, value in optimiser.state.get(p, {}).items():
            arrays[f"{key}/{name}"] = value.detach().cpu().numpy()
    buffer = io.BytesIO()
    np.savez(buffer, allow_pickle=False, **arrays)
    atomic_write_bytes(path, buffer.getvalue())


def load_checkpoint(path: Path, network: Network, optimiser: torch.optim.AdamW | None = None) -> int:
    """Read a checkpoint into the network (and optimiser) and return its step."""
    with np.load(path, allow_pickle=False) as arrays, torch.no_grad():
        for name, p in network.named_parameters():
            p.copy_(torch.from_numpy(arrays[f"weight/{name}"]))
            if optimiser is not None and f"exp_avg/{name}" in arrays:
                state = {key: torch.from_numpy(arrays[f"{key}/{name}"]) for key in ("step", "exp_avg", "exp_avg_sq")}
                state = {k: v.to(p.device) if k != "step" else v.float() for k, v in state.items()}
                optimiser.state[p] = state
        return int(arrays["step"])


def train(folder: Path, config: TrainConfig, sizes: NetworkConfig, *, device: str = "cpu") -> Network:
    """Train on `folder/rows.npy`, resuming from `folder/checkpoint.npz`; append to `folder/log.jsonl`."""
    rows = np.load(folder / "rows.npy", mmap_mode="r", allow_pickle=False)
    held_out = np.load(folder / "held_out.npy", allow_pickle=False)
    network = Network(sizes).initialise(config.seed).to(device)
    optimiser = make_optimiser(network, config)
    checkpoint = folder / "checkpoint.npz"
    start = load_checkpoint(checkpoint, network, optimiser) if checkpoint.exists() else 0
    n_steps = config.n_steps(sizes.n_ctx)
    plan = schedule(n_steps, config.batch_rows)
    began, done = time.perf_counter(), 0
    for step in range(start, n_steps):
        ids, targets = batch_at(
            rows, step, plan=plan, batch=config.batch_rows, vocab=sizes.vocab_size, seed=config.seed
        )
        for group in optimiser.param_groups:
            group["lr"] = rate_at(step, n_steps, config)
        with torch.autocast(device, dtype=torch.bfloat16, enabled=device != "cpu"):
            loss = loss_of(network, torch.from_numpy(ids).to(device), torch.from_numpy(targets).to(device))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        done += ids.size
        last = step + 1 == n_steps
        if (step + 1) % config.eval_every == 0 or last:
            line = {"step": step + 1, "tokens": (step + 1) * ids.size, "loss": loss.item()}
            line |= evaluate(network, held_out, config.seed)
            line |= {"lr": rate_at(step, n_steps, config), "tokens_per_s": done / (time.perf_counter() - began)}
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
        if (step + 1) % config.checkpoint_every == 0 or last:
            save_checkpoint(checkpoint, network, optimiser, step + 1)
    return network


def main() -> None:
    """Command line of the training script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="holds rows.npy and held_out.npy; gets checkpoints")
    parser.add_argument("--tokens", type=float, default=TrainConfig.tokens)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    args = parser.parse_args()
    config = TrainConfig(tokens=int(args.tokens), seed=args.seed)
    sizes = NetworkConfig()
    settings = {"train": asdict(config), "network": sizes.to_dict()}
    atomic_write_bytes(args.folder / "settings.json", json.dumps(settings, indent=1).encode())
    train(args.folder, config, sizes, device=args.device)


if __name__ == "__main__":
    main()
