"""Train the bundled model: torch and numpy alone, CPU or GPU, exact resumption.

Everything is counted in tokens, never in seconds, so that a loaded machine gives the same model. A
checkpoint holds weights, optimiser moments and the step; batches are pure functions of the step, so a
run that was killed goes on bit for bit as if it had not been.
"""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from interp.atlas.corpus import Corpus
from interp.atlas.network import Network, NetworkConfig
from interp.atlas.rows import (
    HELD_OUT_SEED,
    IGNORE,
    PHASES,
    Phases,
    RowStream,
    batch_at,
    repeat_row,
    schedule,
    text_rows,
)
from interp.atlas.world import default_world
from interp.errors import InvalidInput
from interp.store import atomic_write_bytes


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training run."""

    tokens: int = 20_000_000
    batch_rows: int = 32
    lr: float = 3e-3
    warmup: float = 0.02
    """Share of the steps."""
    decay: float = 0.4
    """Share of the steps at the end over which the rate falls to zero."""
    weight_decay: float = 0.1
    clip: float = 1.0
    seed: int = 0
    n_cities: int = 2000
    precision: str = "float32"
    """float32, or bfloat16 for products of matrices (weights and moments stay float32)."""
    compiled: bool = False
    """Whether torch compiles the step; it needs a C++ compiler on a CPU."""
    keep: tuple[float, ...] = (0.03, 0.1, 0.3)
    """Points of the training (shares of the steps) whose weights are kept: early, and before and after the repeat-heavy
    phase of the mixture."""
    phases: Phases = PHASES
    """Shares of the steps, each with its share of random repeats."""
    eval_every: int = 200
    checkpoint_every: int = 100

    def n_steps(self, n_ctx: int) -> int:
        """Return the number of steps that the tokens give."""
        return max(1, self.tokens // (self.batch_rows * n_ctx))

    def kept_steps(self, n_ctx: int) -> list[int]:
        """Return the steps after which weights are kept."""
        return sorted({max(1, round(share * self.n_steps(n_ctx))) for share in self.keep})


def best_precision(device: str) -> str:
    """Return bfloat16 where the hardware multiplies it faster than float32, else float32.

    CPUs without instructions for it are some forty times slower in bfloat16; those with AVX512-BF16 or AMX
    train half as fast again.
    """
    if device != "cpu":
        return "bfloat16"
    return "bfloat16" if torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported() else "float32"


def rate_at(step: int, n_steps: int, config: TrainConfig) -> float:
    """Return the learning rate of a step: linear warm-up, a plateau, then a straight line to zero."""
    warm, fall = max(1, round(config.warmup * n_steps)), max(1, round(config.decay * n_steps))
    return config.lr * min(1.0, (step + 1) / warm, (n_steps - step) / fall)


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


def make_step(network: Network, optimiser: torch.optim.AdamW, config: TrainConfig) -> Callable[..., torch.Tensor]:
    """Return the function (ids, targets) -> loss that makes one update."""
    kind = next(network.parameters()).device.type
    low = config.precision == "bfloat16"

    def forward(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with torch.autocast(kind, dtype=torch.bfloat16, enabled=low):
            return loss_of(network, ids, targets)

    run = torch.compile(forward) if config.compiled else forward

    def step(ids: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        loss = run(ids, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        return loss.detach()

    return step


def weights_npz(network: Network) -> bytes:
    """Return the weights alone as an npz of float32 arrays named `weight/<name>`."""
    buffer = io.BytesIO()
    arrays = {f"weight/{name}": p.detach().cpu().numpy() for name, p in network.named_parameters()}
    np.savez(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def train(
    folder: Path,
    config: TrainConfig,
    sizes: NetworkConfig,
    *,
    device: str = "cpu",
    workers: int = 1,
    report: Callable[[dict[str, float]], None] | None = None,
) -> Network:
    """Train with `folder/tokenizer.json`, resuming from `folder/checkpoint.npz`, and return the network.

    Appends a line to `folder/log.jsonl` at every evaluation (and gives it to `report`) and keeps the weights of
    `config.kept_steps` in `folder/kept`.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    network = Network(sizes).initialise(config.seed).to(device)
    optimiser = make_optimiser(network, config)
    path = folder / "checkpoint.npz"
    (folder / "kept").mkdir(exist_ok=True)
    start = load_checkpoint(path, network, optimiser) if path.exists() else 0
    n_steps, rows = config.n_steps(sizes.n_ctx), config.batch_rows
    repeats, first = schedule(n_steps, rows, config.phases)
    step_of, kept = make_step(network, optimiser, config), config.kept_steps(sizes.n_ctx)
    settings: dict[str, int] = {"n_cities": config.n_cities, "n_ctx": sizes.n_ctx}
    world = default_world(config.n_cities)
    held_out = text_rows(Corpus(world), tokenizer, HELD_OUT_SEED, 0, 64, n_ctx=sizes.n_ctx)
    began = time.perf_counter()
    with RowStream(tokenizer, seed=config.seed, workers=workers, **settings) as stream:
        for step in range(start, n_steps):
            text = stream.read(int(first[step]), rows - int(repeats[step]))
            ids, targets = batch_at(text, step, n_repeat=int(repeats[step]), vocab=sizes.vocab_size, seed=config.seed)
            for group in optimiser.param_groups:
                group["lr"] = rate_at(step, n_steps, config)
            loss = step_of(torch.from_numpy(ids).to(device), torch.from_numpy(targets).to(device))
            done, last = step + 1, step + 1 == n_steps
            if done % config.eval_every == 0 or last:
                line = {"step": done, "tokens": done * ids.size, "loss": loss.item()}
                line |= evaluate(network, held_out, config.seed) | {"lr": rate_at(step, n_steps, config)}
                line["tokens_per_s"] = (done - start) * ids.size / (time.perf_counter() - began)
                with (folder / "log.jsonl").open("a") as log:
                    log.write(json.dumps(line) + "\n")
                if report is not None:
                    report(line)
            if done in kept:
                atomic_write_bytes(folder / "kept" / f"step{done}.npz", weights_npz(network))
            if done % config.checkpoint_every == 0 or last:
                save_checkpoint(path, network, optimiser, done)
    return network


def write_settings(folder: Path, config: TrainConfig, sizes: NetworkConfig) -> None:
    """Write `folder/settings.json`, or check that it holds the same settings.

    Raises:
        InvalidInput: the folder was begun with other settings.
    """
    path = folder / "settings.json"
    settings = json.loads(json.dumps({"train": asdict(config), "network": sizes.to_dict()}))
    if path.exists() and (was := json.loads(path.read_text())) != settings:
        changed = [
            f"{part}.{key}: {was.get(part, {}).get(key)!r} there, {value!r} now"
            for part, values in settings.items()
            for key, value in values.items()
            if was.get(part, {}).get(key) != value
        ]
        raise InvalidInput(f"{folder} was begun with other settings ({'; '.join(changed)}). Give an empty folder.")
    atomic_write_bytes(path, json.dumps(settings, indent=1).encode())
