"""Every convention of a sparse autoencoder, stated.

Two SAEs with the same weights and one convention apart (is the decoder bias subtracted from the input? how many
latents are kept?) give different latents and no error. So a config has no defaults, a file whose convention is
missing or unknown is refused by name, and what has been folded into the weights is written down. The fields that
only some kinds of SAE have (`OPTIONAL`) are null for the others, and are then not written.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from interp.errors import InvalidInput, nearest
from interp.sites import Site

ACTIVATIONS = {
    "topk": "topk",
    "standard": "relu",
    "jumprelu": "jumprelu",
    "gated": "gated",
    "matching_pursuit": "matching_pursuit",
}
"""The one activation of each architecture that this package computes."""

PURSUIT = ("max_iterations", "residual_threshold", "stop_on_duplicate_support")
"""Fields of Matching Pursuit SAEs, which say when a vector is done."""

OPTIONAL = ("d_out", "skip_connection", "site_out", "hook_name_out", "n_heads", *PURSUIT)
"""Fields of transcoders, of SAEs on the heads of a layer, and of Matching Pursuit SAEs."""

_CHOICES: dict[str, tuple[Any, ...]] = {
    "architecture": tuple(ACTIVATIONS),
    "activation": tuple(ACTIVATIONS.values()),
    "normalize_activations": ("none", "layer_norm"),
    "decoder_norm": ("unit", "free"),
    "bos": ("always", "never", "tokenizer", None),
    "dtype": ("float16", "bfloat16", "float32"),
}


@dataclass(frozen=True, kw_only=True)
class SaeConfig:
    """What must be known to compute with an SAE and to know what it may be used on.

    `None` in `site`, `hook_name`, `model_name`, `model_fingerprint`, `bos` or `context_size` means that whoever
    made the SAE did not say; `check_fit` then refuses to put it into a model unless told otherwise.
    """

    architecture: str
    """topk, standard (ReLU), jumprelu, gated or matching_pursuit."""
    d_in: int
    """Width of the activations it reads."""
    d_sae: int
    """Number of latents."""
    k: int | None
    """Latents kept for a token by topk; None for the others."""
    activation: str
    """topk (the k largest, then ReLU), relu, jumprelu, gated or matching_pursuit: one for each architecture."""
    apply_b_dec_to_input: bool
    """Whether the decoder bias is subtracted from the input before encoding."""
    normalize_activations: str
    """What `encode` does to its input: none, or layer_norm (each token to mean 0, sd 1; undone after decoding)."""
    input_scale: float
    """Factor that training multiplied its input by; already folded into the weights, so `encode` takes raw x."""
    decoder_norm: str
    """unit (each row of W_dec has length 1) or free."""
    rescale_acts_by_decoder_norm: bool
    """Whether pre-activations are multiplied by the length of their row of W_dec (and divided by it in decode)."""
    site: str | None
    """Where it reads, as in 'resid_post.2'."""
    hook_name: str | None
    """The same place under its TransformerLens name, as in 'blocks.2.hook_resid_post'."""
    model_name: str | None
    """The model whose activations it was trained on."""
    model_fingerprint: str | None
    """Fingerprint of that model's weights."""
    bos: str | None
    """BOS policy of the training text: always, never or tokenizer."""
    context_size: int | None
    """Tokens in a training row."""
    dtype: str
    """Type of the stored weights; the arithmetic is float32 whatever it says."""
    d_out: int | None = None
    """Width of what a transcoder writes; None: an SAE, which writes what it reads."""
    skip_connection: bool | None = None
    """Of a transcoder: whether x W_skip^T is added to what is decoded. None: an SAE."""
    site_out: str | None = None
    """Of a transcoder: where it writes, as in 'mlp_out.2'."""
    hook_name_out: str | None = None
    """The same place under its TransformerLens name."""
    n_heads: int | None = None
    """Heads whose vectors are concatenated, head-major, into the d_in values of a token; None: not stated."""
    max_iterations: int | None = None
    """Of matching_pursuit: latents picked for a vector at most (the same one may be picked again)."""
    residual_threshold: float | None = None
    """Of matching_pursuit: a vector whose residual is shorter is done, in units of x; 0: there is no such bound."""
    stop_on_duplicate_support: bool | None = None
    """Of matching_pursuit: whether a vector is done once a pick adds no new latent."""

    def __post_init__(self) -> None:
        for name, allowed in _CHOICES.items():
            _check_choice(name, getattr(self, name), allowed)
        for name in ("d_in", "d_sae"):
            _check_count(name, getattr(self, name))
        for name in ("apply_b_dec_to_input", "rescale_acts_by_decoder_norm"):
            if not isinstance(getattr(self, name), bool):
                raise InvalidInput(f"{name} is true or false, not {getattr(self, name)!r}.")
        _check_k(self)
        if ACTIVATIONS[self.architecture] != self.activation:
            raise InvalidInput(
                f"a {self.architecture} SAE has activation {ACTIVATIONS[self.architecture]!r}, not {self.activation!r}."
            )
        scale = self.input_scale
        if isinstance(scale, bool) or not isinstance(scale, int | float) or not math.isfinite(scale) or scale <= 0:
            raise InvalidInput(f"input_scale is a positive number, not {scale!r}.")
        for name in ("hook_name", "hook_name_out", "model_name", "model_fingerprint"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, str) or not value):
                raise InvalidInput(f"{name} is a name or null, not {value!r}.")
        if self.site is not None:
            Site.parse(self.site)
        if self.context_size is not None:
            _check_count("context_size", self.context_size)
        _check_transcoder(self)
        _check_heads(self)
        _check_pursuit(self)

    @property
    def is_transcoder(self) -> bool:
        """Whether it predicts the activations of another place instead of those that it reads."""
        return self.d_out is not None

    @property
    def width_out(self) -> int:
        """Width of what it writes."""
        return self.d_in if self.d_out is None else self.d_out

    def to_dict(self) -> dict[str, Any]:
        """Return every field under its own name, ready for JSON; those of `OPTIONAL` only where they are not null."""
        return {key: value for key, value in asdict(self).items() if value is not None or key not in OPTIONAL}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> SaeConfig:
        """Build a config from all of its fields (those of `OPTIONAL` may be left out); others are refused by name.

        Raises:
            InvalidInput: a key is unknown or missing, or a value is not allowed.
        """
        refuse_keys({**dict.fromkeys(OPTIONAL), **values}, [f.name for f in fields(cls)], what="SAE config")
        return cls(**values)

    def with_(self, **changes: Any) -> SaeConfig:
        """Return a copy with some fields changed (checked again)."""
        unknown = sorted(set(changes) - {f.name for f in fields(self)})
        if unknown:
            near = ", ".join(nearest(unknown[0], [f.name for f in fields(self)]))
            raise InvalidInput(f"an SAE config has no field {unknown[0]!r}. Nearest: {near}.")
        return replace(self, **changes)


def topk_config(d_in: int, d_sae: int, *, k: int, **stated: Any) -> SaeConfig:
    """Return the config of a TopK SAE in this package's own convention, to be trained.

    The decoder bias is subtracted from the input, the decoder rows have length 1 and nothing is normalised at
    run time. `stated` overrides any field and says where the activations come from (`site`, `model_name`, ...).
    """
    own: dict[str, Any] = {
        "apply_b_dec_to_input": True,
        "normalize_activations": "none",
        "input_scale": 1.0,
        "decoder_norm": "unit",
        "rescale_acts_by_decoder_norm": False,
        "dtype": "float16",
    }
    unsaid = ("site", "hook_name", "model_name", "model_fingerprint", "bos", "context_size")
    own |= dict.fromkeys(unsaid)
    known = {"architecture": "topk", "activation": "topk", "d_in": d_in, "d_sae": d_sae, "k": k}
    return SaeConfig.from_dict(own | stated | known)


def refuse_keys(values: Mapping[str, Any], expected: list[str], *, what: str) -> None:
    """Raise InvalidInput naming the unknown (with the nearest) and the missing keys of `values`."""
    unknown = sorted(set(values) - set(expected))
    missing = [name for name in expected if name not in values]
    said = [f"unknown key {name!r} (nearest: {', '.join(nearest(name, expected))})" for name in unknown]
    said += [f"missing key {name!r}" for name in missing]
    if said:
        raise InvalidInput(f"{what}: {'; '.join(said)}. Every convention has to be stated; none is guessed.")


def _check_choice(name: str, value: Any, allowed: tuple[Any, ...]) -> None:
    if value not in allowed or isinstance(value, bool):
        shown = ", ".join("null" if a is None else a for a in allowed)
        raise InvalidInput(f"{name} is one of {shown}; not {value!r}.")


def _check_count(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidInput(f"{name} is an integer from 1, not {value!r}.")


def _check_k(config: SaeConfig) -> None:
    if config.architecture != "topk":
        if config.rescale_acts_by_decoder_norm:
            raise InvalidInput(f"rescale_acts_by_decoder_norm belongs to topk, not to {config.architecture}.")
        if config.k is not None:
            raise InvalidInput(f"k belongs to a topk SAE; a {config.architecture} SAE has k null, not {config.k!r}.")
        return
    _check_count("k", config.k)
    if config.k is not None and config.k > config.d_sae:
        raise InvalidInput(f"k = {config.k} is more than the {config.d_sae} latents there are.")


def _check_transcoder(config: SaeConfig) -> None:
    if config.d_out is None:
        given = [n for n in ("skip_connection", "site_out", "hook_name_out") if getattr(config, n) is not None]
        if given:
            raise InvalidInput(f"{given[0]} belongs to a transcoder, which also has d_out; an SAE has it null.")
        return
    _check_count("d_out", config.d_out)
    if not isinstance(config.skip_connection, bool):
        raise InvalidInput(f"skip_connection of a transcoder is true or false, not {config.skip_connection!r}.")
    if config.site_out is not None:
        Site.parse(config.site_out)
    if config.apply_b_dec_to_input:
        raise InvalidInput("apply_b_dec_to_input is false for a transcoder: its b_dec is of the place it writes to.")
    if config.normalize_activations != "none":
        raise InvalidInput(
            f"normalize_activations {config.normalize_activations!r} is not computed for a transcoder, whose output "
            "has another mean and scale than its input."
        )


def _check_heads(config: SaeConfig) -> None:
    if config.n_heads is None:
        return
    _check_count("n_heads", config.n_heads)
    if config.d_in % config.n_heads:
        raise InvalidInput(f"n_heads = {config.n_heads} does not divide d_in = {config.d_in}.")


def _check_pursuit(config: SaeConfig) -> None:
    given = [name for name in PURSUIT if getattr(config, name) is not None]
    if config.architecture != "matching_pursuit":
        if given:
            raise InvalidInput(f"{given[0]} belongs to a matching_pursuit SAE, not to {config.architecture}.")
        return
    if len(given) < len(PURSUIT):
        missing = [name for name in PURSUIT if name not in given]
        raise InvalidInput(f"a matching_pursuit SAE states {', '.join(PURSUIT)}; missing: {', '.join(missing)}.")
    if config.is_transcoder:
        raise InvalidInput("a matching_pursuit SAE takes what it writes from what it reads: it cannot have d_out.")
    _check_count("max_iterations", config.max_iterations)
    bound = config.residual_threshold
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not math.isfinite(bound) or bound < 0:
        raise InvalidInput(f"residual_threshold is a number from 0, not {bound!r}.")
    if not isinstance(config.stop_on_duplicate_support, bool):
        raise InvalidInput(f"stop_on_duplicate_support is true or false, not {config.stop_on_duplicate_support!r}.")
