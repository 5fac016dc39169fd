"""What decides a selection, and what of it cannot be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from analyses.data_selection.method_names import BOUNDED, CODE_METHODS, DEFAULT_METHOD, check_method
from interp.errors import InvalidInput


@dataclass(frozen=True)
class SelectionConfig:
    """Everything that decides a selection; the command line and Python give the same object."""

    pool: tuple[str, ...]
    target: tuple[str, ...]
    """One task a file."""
    budget: str = "5%"
    test: tuple[str, ...] = ()
    """Files whose texts must not be in the pick, beside the targets."""
    model: str = "atlas"
    sae: str | None = None
    bos: str | None = None
    schema: str = "auto"
    template: str = "plain"
    tokens: str = "all"
    pooling: str = "mean"
    max_length: int | None = None
    keep: str = "start"
    top: int | None = None
    shard_rows: int = 4096
    method: str = DEFAULT_METHOD
    """See `method_names`."""
    weigh: tuple[str, ...] = ()
    """"FEATURE=FACTOR": 0 mutes a feature, 2 counts it twice."""
    per_source: float | None = None
    """Share of the budget that each source may take."""
    source_quota: tuple[str, ...] = ()
    """"SOURCE=SHARE" of sources that may take another share."""
    task_quota: tuple[str, ...] = ()
    """"TASK=SHARE" of the budget that a task may take; tasks without one have no limit."""
    temperature: float = 0.0
    duplicates: str = "near"
    """Which are left out: "near", "exact" or "none"."""
    contaminated: str = "drop"
    """What is done with samples that hold text of target or test: "drop" or "report"."""
    overlap_words: int = 13
    random_control: bool | None = None
    """Also code the pool with an SAE of random directions; None: where it has at most 5,000 samples."""
    causal_check: bool = False
    """Ablate the features that explain the pick and see whether the loss of the target rises."""
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as a plain dict."""
        return asdict(self)

    def encoding(self) -> dict[str, Any]:
        """Return the options of `encode_pool`."""
        return {
            "template": self.template, "tokens": self.tokens, "pool": self.pooling, "max_length": self.max_length,
            "keep": self.keep, "bos": self.bos, "shard_rows": self.shard_rows,
        }  # fmt: skip


def check_config(config: SelectionConfig) -> None:
    """Raise InvalidInput for a choice that does not exist, before anything heavy runs."""
    check_method(config.method)
    for name, given, valid in (
        ("duplicates", config.duplicates, ("near", "exact", "none")),
        ("contaminated", config.contaminated, ("drop", "report")),
    ):
        if given not in valid:
            raise InvalidInput(f"{name} is one of {', '.join(map(repr, valid))}, not {given!r}.")
    if config.top is not None and config.method not in BOUNDED:
        raise InvalidInput(f"top keeps a part of each code, which has bounds under {', '.join(BOUNDED)} alone.")
    if read_factors(config.weigh) and config.top is not None:
        raise InvalidInput("features of codes that were cut cannot be weighed; leave top out.")
    if config.weigh and config.method not in CODE_METHODS:
        raise InvalidInput(f"{config.method!r} reads no features that could be weighed; {', '.join(CODE_METHODS)} do.")
    if config.causal_check and config.top is not None:
        raise InvalidInput("codes that were cut have no reasons to check; leave top or causal_check out.")
    read_shares("source_quota", config.source_quota)
    read_shares("task_quota", config.task_quota)


def read_factors(weigh: Sequence[str]) -> dict[int, float]:
    """Return {feature: factor} of "FEATURE=FACTOR". Raises InvalidInput for anything else."""
    found = {}
    for one in weigh:
        feature, _, factor = one.partition("=")
        try:
            found[int(feature)] = float(factor)
        except ValueError:
            raise InvalidInput(f"weigh takes FEATURE=FACTOR, such as 12=0 to mute feature 12, not {one!r}.") from None
    return found


def read_shares(what: str, given: Sequence[str]) -> dict[str, float]:
    """Return {name: share} of "NAME=SHARE". Raises InvalidInput for anything else."""
    found = {}
    for one in given:
        name, _, share = one.rpartition("=")
        try:
            found[name] = float(share)
        except ValueError:
            name = ""
        if not name or not 0 < found[name] <= 1:
            raise InvalidInput(f"{what} takes NAME=SHARE, such as math=0.5, shares above 0 up to 1, not {one!r}.")
    return found
