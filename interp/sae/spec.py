"""What is to be trained: an architecture by name, its options, and the config of the SAE it ends as."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, replace
from typing import Any

from interp.errors import InvalidInput, UnknownName, nearest
from interp.sae.config import ACTIVATIONS, SaeConfig, topk_config
from interp.sae.learner import Learner, Options
from interp.sae.learners import TRAINABLE
from interp.sae.settings import TrainSettings


@dataclass(frozen=True)
class Spec:
    """An architecture with everything chosen; see `make_spec`."""

    arch: str
    learner: type[Learner]
    options: Options
    config: SaeConfig

    def filled(self, settings: TrainSettings) -> Spec:
        """Return the spec with the options that depend on the run filled in.

        Raises:
            InvalidInput: another precision than float32, and the architecture is trained in no other.
        """
        if settings.precision != "float32" and not self.learner.mixed:
            able = ", ".join(name for name, (learner, _) in TRAINABLE.items() if learner.mixed)
            raise InvalidInput(f"{self.arch} is trained in float32; precision {settings.precision!r} is for {able}.")
        return replace(self, options=self.options.filled(self.config, settings))

    def to_dict(self) -> dict[str, Any]:
        """Return what a checkpoint and a training record say of it: arch and every option, as JSON gives them back."""
        return {"arch": self.arch, **json.loads(json.dumps(asdict(self.options)))}


def make_spec(
    config: SaeConfig | None = None,
    *,
    arch: str = "topk",
    d_in: int | None = None,
    d_sae: int | None = None,
    options: Options | None = None,
    values: Mapping[str, Any] | None = None,
    stated: Mapping[str, Any] | None = None,
) -> Spec:
    """Return what is to be trained, checked.

    Args:
        config: of the finished SAE; or give d_in and d_sae, and the architecture's own convention is taken.
        arch: a name of `TRAINABLE`.
        options: the options of that architecture; or give them one by one as `values`.
        stated: without config: further fields of it, such as site or model_name.

    Raises:
        UnknownName: no such architecture; the nearest are named.
        InvalidInput: an option is unknown, missing or given twice, or the config is one that is not trained.
    """
    if arch not in TRAINABLE:
        near = ", ".join(nearest(arch, TRAINABLE))
        raise UnknownName(f"no architecture {arch!r} can be trained. Nearest: {near}. All: {', '.join(TRAINABLE)}.")
    learner, kind = TRAINABLE[arch]
    if config is not None and config.architecture != learner.inference:
        makers = [name for name, (cls, _) in TRAINABLE.items() if cls.inference == config.architecture]
        raise InvalidInput(
            f"arch {arch!r} makes {learner.inference} SAEs; the config says {config.architecture!r}. Give "
            f"arch={' or '.join(map(repr, makers))}."
        )
    chosen = dict(values or {})
    if arch == "topk" and config is not None and options is None:
        chosen.setdefault("k", config.k)
    options = _options(arch, kind, options, chosen)
    if config is None:
        config = _own_config(arch, learner, d_in, d_sae, options, dict(stated or {}))
    elif d_in is not None or d_sae is not None or stated:
        raise InvalidInput("d_in and d_sae are in the config that is given; leave them out.")
    learner.check(config, options)
    return Spec(arch, learner, options, config)


def _options(arch: str, kind: type[Options], options: Options | None, values: dict[str, Any]) -> Options:
    if options is not None:
        if values:
            raise InvalidInput(f"{', '.join(sorted(values))}: give options= or single options, not both.")
        if type(options) is not kind:
            raise InvalidInput(f"{arch} takes {kind.__name__}, not {type(options).__name__}.")
        return options
    known = [f.name for f in fields(kind)]
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise InvalidInput(
            f"{arch} has no option {unknown[0]!r}. It has: {', '.join(known) or 'none'} (nearest: "
            f"{', '.join(nearest(unknown[0], known)) or 'none'})."
        )
    open_ = [f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING]
    missing = [name for name in open_ if values.get(name) is None]
    if missing:
        raise InvalidInput(f"{arch} has no default for {', '.join(missing)}: give {missing[0]}=.")
    return kind(**values)


def _own_config(
    arch: str, learner: type[Learner], d_in: int | None, d_sae: int | None, options: Options, stated: dict[str, Any]
) -> SaeConfig:
    if d_in is None or d_sae is None:
        raise InvalidInput(f"give d_in= and d_sae= of the {arch} SAE, or a config.")
    if stated.get("d_out") is not None:
        stated = {"apply_b_dec_to_input": False, "skip_connection": False} | stated
    if learner.inference == "topk":
        return topk_config(d_in, d_sae, k=getattr(options, "k", 0), **stated)
    stated = {"decoder_norm": learner.decoder_norm, **learner.own_fields(options)} | stated
    kind = {"architecture": learner.inference, "activation": ACTIVATIONS[learner.inference], "k": None}
    # validated as a whole only once its architecture is set, so the k of the template is never seen
    return SaeConfig.from_dict(topk_config(d_in, d_sae, k=1).to_dict() | stated | kind)
