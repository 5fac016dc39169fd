"""The SAEs that ship beside the bundled model, and the texts that they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

from interp.atlas.facts import Facts, load_facts

SAE_TEXT_SEED = 2_000_003
TWIN = "-random"
"""Behind the name of a model: its random-weights twin."""
COMPARED: dict[str, dict[str, Any]] = {
    "topk": {"k": 16},
    "matryoshka": {"k": 16},
    "gba": {"l0_budget": 32.0, "lowest": 0.003, "n_groups": 4},
    "matching_pursuit": {"max_iterations": 16},
}
"""Architectures that are trained at one site each, so that they can be compared: name -> options."""


@dataclass(frozen=True)
class SaePlan:
    """Settings of the SAEs of one model: one at each component of each layer, and more at one site."""

    n_layers: int
    compared_layer: int
    """Layer at whose resid_post every architecture of `compared` and every seed is trained."""
    arch: str = "topk"
    options: Mapping[str, Any] = field(default_factory=lambda: {"k": 16})
    widths: Mapping[str, int] = field(default_factory=lambda: {"resid_post": 2048, "z": 1024, "mlp_out": 1024})
    """Component -> number of latents."""
    compared: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: dict(COMPARED))
    seeds: tuple[int, ...] = (0, 1, 2)
    """Seeds of the SAE at the compared site; all others have the first."""
    tokens: int = 1_500_000
    eval_rows: int = 512
    """Texts held out for the evaluation."""
    batch_size: int = 1024
    buffer: int = 65_536
    """Vectors in the mixing buffer."""
    checkpoint_every: int = 500

    @property
    def compared_site(self) -> str:
        """The site at which architectures and seeds are compared."""
        return f"resid_post.{self.compared_layer}"


@dataclass(frozen=True)
class Group:
    """SAEs of one model and seed that are trained on one stream: name of each -> words of `SaeJob`."""

    weights: Literal["trained", "random"]
    seed: int
    jobs: Mapping[str, Mapping[str, Any]]


def groups(plan: SaePlan) -> list[Group]:
    """Return what is trained together.

    Names are sites ("z.3"); behind the site of the comparison stands what is different ("resid_post.2-gba",
    "resid_post.2-seed1"). The twin has one SAE at each component of the compared layer.
    """
    first, *seeds = plan.seeds
    at, width = plan.compared_site, plan.widths["resid_post"]
    others = {
        f"{at}-{arch}": {"site": at, "d_sae": width, "arch": arch, "options": dict(options)}
        for arch, options in plan.compared.items()
        if arch != plan.arch
    }
    out = [Group("trained", first, _at_layer(plan, layer)) for layer in range(plan.n_layers)]
    out += [Group("trained", seed, {f"{at}-seed{seed}": _job(plan, at)}) for seed in seeds]
    out += [Group("trained", first, others)] if others else []
    return [*out, Group("random", first, _at_layer(plan, plan.compared_layer))]


def _at_layer(plan: SaePlan, layer: int) -> dict[str, dict[str, Any]]:
    return {f"{component}.{layer}": _job(plan, f"{component}.{layer}") for component in plan.widths}


def _job(plan: SaePlan, site: str) -> dict[str, Any]:
    width = plan.widths[site.partition(".")[0]]
    return {"site": site, "d_sae": width, "arch": plan.arch, "options": dict(plan.options)}


@dataclass(frozen=True)
class FreshTexts:
    """Texts of a corpus as strings, without end; every iteration is the same, and none is of the training text."""

    facts: Facts
    seed: int = SAE_TEXT_SEED

    def __iter__(self) -> Iterator[str]:
        return (text.text for text in self.facts.texts(self.seed))


def held_out_texts(n: int) -> list[str]:
    """Return n fresh texts of the bundled corpus: other draws than the model or its SAEs are trained on."""
    from interp.atlas.facts import facts

    return list(islice(FreshTexts(facts(), SAE_TEXT_SEED + 1), n))


def train_saes(
    model_folder: Path,
    target: Path,
    plan: SaePlan,
    *,
    say: Callable[[str], None],
    device: str = "cpu",
    workers: int = 1,
    progress: bool = True,
) -> list[Path]:
    """Train the SAEs of a model folder into `target`/<model>/<name>, those of its twin into `target`/<model>-random.

    Finished ones are kept, interrupted ones go on. Returns the folder of each SAE.

    Args:
        say: is given a line when an SAE is done.
        device: where models and SAEs compute.
        workers: processes that train a group each; worth it on a GPU, which one group does not fill.
    """
    calls = [(model_folder, target, plan, group, device, progress) for group in groups(plan)]
    if workers == 1:
        return _told(map(_train_group, calls), say)
    with ProcessPoolExecutor(min(workers, len(calls)), get_context("spawn")) as pool:
        return _told(pool.map(_train_group, calls), say)


def _told(results: Iterator[list[tuple[Path, float]]], say: Callable[[str], None]) -> list[Path]:
    out = []
    for trained in results:
        for path, fvu in trained:
            say(f"SAE {path.parent.name}/{path.name}: {fvu:.3f} of the variance unexplained")
            out.append(path)
    return out


def _train_group(call: tuple[Path, Path, SaePlan, Group, str, bool]) -> list[tuple[Path, float]]:
    from interp.models import load_model
    from interp.sae import SaeJob
    from interp.sae import train_saes as train_together

    model_folder, target, plan, group, device, progress = call
    model = load_model(model_folder, weights=group.weights, seed=0, device=device)
    trained = train_together(
        model, FreshTexts(load_facts(model_folder)), {name: SaeJob(**job) for name, job in group.jobs.items()},
        tokens=plan.tokens, seed=group.seed, out=target / (model.name + (TWIN if group.weights == "random" else "")),
        eval_rows=plan.eval_rows, batch_size=plan.batch_size, buffer=plan.buffer, progress=progress, overwrite=True,
        checkpoint_every=plan.checkpoint_every, device=device,
    )  # fmt: skip
    return [(sae.path, _fvu(sae.evaluation)) for sae in trained.values()]


def _fvu(evaluation: Any) -> float:
    return float(evaluation.set_index("metric")["value"]["fvu"])
