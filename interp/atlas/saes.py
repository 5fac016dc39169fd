"""The SAEs that ship beside the bundled model, and the texts that they are trained on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from interp.atlas.facts import Facts, load_facts

SAE_TEXT_SEED = 2_000_003
TWIN = "-random"
"""Behind the name of a model: its random-weights twin."""


@dataclass(frozen=True)
class SaePlan:
    """Settings of the SAEs of one model."""

    sites: tuple[str, ...]
    """One SAE each."""
    control: str
    """Site of the SAE of the random-weights twin."""
    d_sae: int = 2048
    k: int = 16
    tokens: int = 1_500_000
    eval_rows: int = 512
    """Texts held out for the evaluation."""
    batch_size: int = 1024
    buffer: int = 65_536
    """Vectors in the mixing buffer."""
    seed: int = 0


@dataclass(frozen=True)
class FreshTexts:
    """Texts of a corpus as strings, without end; every iteration is the same, and none is of the training text."""

    facts: Facts
    seed: int = SAE_TEXT_SEED

    def __iter__(self) -> Iterator[str]:
        return (text.text for text in self.facts.texts(self.seed))


def train_saes(
    model_folder: Path, target: Path, plan: SaePlan, *, say: Callable[[str], None], progress: bool = True
) -> list[Path]:
    """Train the SAEs of a model folder into `target`/<model>/<site>, and of its twin into `target`/<model>-random.

    Finished ones are kept, an interrupted one goes on. Returns the folder of each SAE.

    Args:
        say: is given a line when an SAE is done.
    """
    from interp.models import load_model
    from interp.sae import train_sae_on_model

    texts = FreshTexts(load_facts(model_folder))
    both: tuple[tuple[Literal["trained", "random"], tuple[str, ...]], ...]
    both = (("trained", plan.sites), ("random", (plan.control,)))
    out = []
    for weights, sites in both:
        model = load_model(model_folder, weights=weights, seed=0, device="cpu")
        for site in sites:
            path = target / (model.name + (TWIN if weights == "random" else "")) / site
            trained = train_sae_on_model(
                model, texts, site, d_sae=plan.d_sae, k=plan.k, tokens=plan.tokens, seed=plan.seed, out=path,
                eval_rows=plan.eval_rows, batch_size=plan.batch_size, buffer=plan.buffer, progress=progress,
                overwrite=True,
            )  # fmt: skip
            fvu = trained.evaluation.set_index("metric")["value"]["fvu"]
            say(f"SAE {path.parent.name}/{site}: {fvu:.3f} of the variance unexplained")
            out.append(path)
    return out
