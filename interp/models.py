"""Load a model and name every place in it. The only file that imports transformer_lens.

A `Model` is a `TransformerBridge` (raw weights: no LayerNorm folding, no centring; eager attention)
with what the rest of the toolkit needs to know about it. Device and dtype are decided here, once.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import pandas as pd
import torch

from interp.errors import InvalidInput, UnknownSite, nearest
from interp.identities import check_identities
from interp.sites import COMPONENTS, Site, all_sites
from interp.sources import Source, build_module, collector_paused, find_source, load_tokenizer, quiet

Bos = Literal["always", "never", "tokenizer"]

HOOKS = {
    "embed": "hook_embed",
    "resid_pre": "blocks.{layer}.hook_resid_pre",
    "q": "blocks.{layer}.attn.hook_q",
    "k": "blocks.{layer}.attn.hook_k",
    "v": "blocks.{layer}.attn.hook_v",
    "pattern": "blocks.{layer}.attn.hook_pattern",
    "z": "blocks.{layer}.attn.hook_z",
    "attn_out": "blocks.{layer}.hook_attn_out",
    "resid_mid": "blocks.{layer}.hook_resid_mid",
    "mlp_pre": "blocks.{layer}.mlp.hook_pre",
    "mlp_post": "blocks.{layer}.mlp.hook_post",
    "mlp_out": "blocks.{layer}.hook_mlp_out",
    "resid_post": "blocks.{layer}.hook_resid_post",
}
"""Hook name of each component; `hook_attn_out` and `hook_mlp_out` are what is added to the residual stream."""

# What makes two configurations the same model. Names and defaults of other fields change between releases
# of transformers, and an SAE that stores the fingerprint must not be refused for that.
_CONFIG = (
    "model_type hidden_size num_hidden_layers num_attention_heads num_key_value_heads head_dim intermediate_size "
    "vocab_size max_position_embeddings hidden_act activation_function rms_norm_eps layer_norm_eps layer_norm_epsilon "
    "rope_parameters sliding_window tie_word_embeddings"
).split()


@dataclass(eq=False)
class Model:
    """A loaded transformer: the bridge, its sizes, its tokenizer and what was checked about it."""

    bridge: Any
    """The TransformerBridge; its hook points carry every capture and edit."""
    name: str
    config: Any
    """The Hugging Face configuration."""
    tokenizer: Any
    bos: Bos | None
    """BOS policy of the card or of the caller; None: each call has to say."""
    weights: Literal["trained", "random"]
    card: dict[str, Any]
    checks: pd.DataFrame = field(default_factory=pd.DataFrame)
    """Outcome of the identities that were checked at loading, one row an identity and layer."""
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Sites that fired at loading (heads together) and their shapes [pos, ...] there."""
    _tensors: Mapping[str, torch.Tensor] = field(default_factory=dict, repr=False)
    _points: dict[str, Any] = field(default_factory=dict, repr=False)
    _fingerprint: tuple[Any, str] | None = field(default=None, repr=False)

    def __repr__(self) -> str:
        return (
            f"Model({self.name!r}, {self.weights} weights, n_layers={self.n_layers}, d_model={self.d_model}, "
            f"n_heads={self.n_heads}, bos={self.bos!r}, {self.dtype}, {self.device})"
        )

    @property
    def n_layers(self) -> int:
        """Number of blocks."""
        return int(self.bridge.cfg.n_layers)

    @property
    def n_heads(self) -> int:
        """Number of query heads of a layer."""
        return int(self.bridge.cfg.n_heads)

    @property
    def n_kv_heads(self) -> int:
        """Number of key and value heads of a layer; query heads share them in order."""
        return int(getattr(self.bridge.cfg, "n_key_value_heads", None) or self.n_heads)

    @property
    def d_model(self) -> int:
        """Width of the residual stream."""
        return int(self.bridge.cfg.d_model)

    @property
    def d_head(self) -> int:
        """Width of one head."""
        return int(self.bridge.cfg.d_head)

    @property
    def d_mlp(self) -> int:
        """Number of neurons of a layer, as counted at the hook (the configuration is wrong for some families)."""
        widths = [shape[-1] for site, shape in self.shapes.items() if site.startswith("mlp_post.")]
        return widths[0] if widths else int(self.bridge.cfg.d_mlp)

    @property
    def d_vocab(self) -> int:
        """Number of rows of the token embedding."""
        return int(self.bridge.cfg.d_vocab)

    @property
    def n_ctx(self) -> int:
        """Longest sequence in tokens."""
        return int(self.bridge.cfg.n_ctx)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(iter(self._tensors.values())).device

    @property
    def dtype(self) -> torch.dtype:
        """Type of the weights."""
        return next(iter(self._tensors.values())).dtype

    @property
    def n_parameters(self) -> int:
        """Number of weights, as the model has them (a bridge may add zeros of its own)."""
        return sum(tensor.numel() for tensor in self._tensors.values())

    @property
    def fingerprint(self) -> str:
        """sha256 over configuration and weights: equal numbers, equal fingerprint, on every device.

        Kept until a weight is edited in place. A model that was stored in 16 bit has the same
        fingerprint in 16 and in 32 bit, because the numbers are the same.
        """
        stamp = tuple((t.data_ptr(), t._version) for t in self._tensors.values())
        if self._fingerprint is None or self._fingerprint[0] != stamp:
            self._fingerprint = (stamp, _fingerprint(self.config, self._tensors))
        return self._fingerprint[1]

    def run(self, ids: torch.Tensor, mask: torch.Tensor) -> None:
        """Run the blocks on ids [batch, pos] with mask [batch, pos]; no logits are computed."""
        # Not through the bridge's own forward, which ends in the unembedding.
        self.bridge.original_model.base_model(input_ids=ids, attention_mask=mask, use_cache=False)

    def trainable_copy(self) -> torch.nn.Module:
        """Return a Hugging Face module of its own with the same numbers: no hooks, every weight to be trained."""
        with torch.random.fork_rng(devices=[]):
            module = type(self.bridge.original_model)(copy.deepcopy(self.config))
        own = dict(module.named_parameters())
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                own[name].copy_(tensor)
        return module.to(device=self.device, dtype=self.dtype).eval().requires_grad_(True)

    def logits(self, ids: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
        """Return the logits [batch, pos, d_vocab] of right-padded ids [batch, pos]; hooks fire."""
        mask = torch.ones_like(ids) if mask is None else mask
        return self.bridge.original_model(input_ids=ids, attention_mask=mask, use_cache=False).logits


@collector_paused()
def load_model(
    source: Any,
    *,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    bos: Bos | None = None,
    weights: Literal["trained", "random"] = "trained",
    seed: int = 0,
    tokenizer: Any = None,
) -> Model:
    """Load a causal language model and check what its hooks hold.

    Args:
        source: "atlas" (bundled) or "atlas@step100" (an earlier step of its training), a folder in the Hugging
            Face format, a Hugging Face name ("org/name@revision" for a revision), or a Hugging Face module
            (used as it is, on its device, in its dtype; never moved, never changed).
        device: default: the first CUDA device, else the CPU.
        dtype: default float32.
        bos: "always", "never" or "tokenizer"; default what the card of the model says.
        weights: "random" gives the twin: same configuration, weights freshly initialised from `seed`.
        tokenizer: Hugging Face tokenizer or a folder with one; default that of the source.

    Raises:
        UnknownName: no such model.
        InvalidInput: not a causal language model in safetensors, or arguments that contradict each other.
        CorruptArtifact: files that are incomplete or not what was shipped.
        ModelMismatch: the model breaks an identity that holds in every decoder.
    """
    if weights not in ("trained", "random"):
        raise InvalidInput(f"weights is 'trained' or 'random', not {weights!r}.")
    found = find_source(source)
    policy = _policy(bos if bos is not None else found.card.get("bos"))
    where, kind = _placement(found, device, dtype)
    module = build_module(found, weights=weights, seed=seed, dtype=kind, device=where)
    tensors = dict(module.named_parameters())  # before the bridge renames and splits them
    model = Model(
        bridge=_bridge(module, found.name),
        name=found.name,
        config=found.config,
        tokenizer=load_tokenizer(found, tokenizer),
        bos=policy,
        weights=weights,
        card=found.card,
        _tensors=tensors,
    )
    return _checked(model)


def hook_name(site: str | Site) -> str:
    """Return the TransformerLens name of the hook of a site; one head and all heads share a hook."""
    site = Site.parse(site)
    return HOOKS[site.component].format(layer=site.layer)


def find_site(model: Model, site: str | Site) -> Site:
    """Return the site if the model has it. Raises UnknownSite with the three nearest that it has."""
    site = Site.parse(site)
    whole = Site(site.component, site.layer)
    if str(whole) not in model.shapes:
        near = ", ".join(nearest(str(whole), model.shapes))
        raise UnknownSite(
            f"{model.name} has no {str(site)!r}: {_why_not(model, whole)}. Nearest: {near}. "
            f"List all: interp points {model.name}."
        )
    n_heads = _n_heads(model, site)
    if site.head is not None and site.head >= n_heads:
        near = ", ".join(f"{whole}.h{h}" for h in range(max(0, n_heads - 3), n_heads))
        raise UnknownSite(
            f"{model.name} has no {str(site)!r}: {site.component!r} has heads 0 to {n_heads - 1}. Nearest: {near}."
        )
    return site


def hook_point(model: Model, site: str | Site) -> Any:
    """Return the live HookPoint of a site. Raises UnknownSite with the three nearest."""
    site = find_site(model, site)
    return model._points[str(Site(site.component, site.layer))]


def width(model: Model, site: str | Site) -> int:
    """Return the number of values a token has at a site (heads together: n_heads * d_head)."""
    site = find_site(model, site)
    if site.component == "pattern":
        raise InvalidInput(f"'{site}' has one value a pair of tokens, so no fixed width.")
    shape = model.shapes[str(Site(site.component, site.layer))][1:]
    return shape[-1] if site.head is not None or len(shape) == 1 else shape[0] * shape[1]


def points(model: Model) -> pd.DataFrame:
    """Return every site: its hook in TransformerLens, axes, shape there, and whether the model has it."""
    rows = []
    for site in all_sites(model.n_layers):
        shape = model.shapes.get(str(site))
        axes = COMPONENTS[site.component].axes
        sizes = ["batch", "pos", *(str(n) for n in shape[1:])] if shape else list(axes)
        if site.component == "pattern":
            sizes = ["batch", str(shape[0]) if shape else "head", "pos", "pos"]
        rows.append(
            {
                "site": str(site),
                "hook": hook_name(site),
                "axes": " ".join(axes),
                "shape": " ".join(sizes),
                "exists": shape is not None,
                "what": COMPONENTS[site.component].what if shape else _why_not(model, site),
            }
        )
    return pd.DataFrame(rows)


def _n_heads(model: Model, site: Site) -> int:
    shape = model.shapes[str(Site(site.component, site.layer))]
    return shape[0] if site.component == "pattern" else shape[1]


def _why_not(model: Model, site: Site) -> str:
    if site.layer is not None and site.layer >= model.n_layers:
        return f"its layers are 0 to {model.n_layers - 1}"
    if site.component == "resid_mid":
        return "attention and MLP run in parallel, nothing lies between them"
    return "its hook does not exist or never fires in this architecture"


def _policy(bos: Any) -> Bos | None:
    if bos is not None and bos not in get_args(Bos):
        raise InvalidInput(f"bos is one of {', '.join(map(repr, get_args(Bos)))}, not {bos!r}.")
    return bos


def _checked(model: Model) -> Model:
    hooks = model.bridge.hook_dict
    found = {str(site): hooks[hook_name(site)] for site in all_sites(model.n_layers) if hook_name(site) in hooks}
    model._points = found  # the bridge builds its hook_dict anew at each access
    model.checks, model.shapes = check_identities(
        found, model.run, name=model.name, n_layers=model.n_layers, d_vocab=model.d_vocab, device=model.device
    )
    return model


def default_device(environment: Mapping[str, str], n_gpus: int) -> str:
    """Return where a model goes: under torchrun or srun the GPU of its local rank, else the current GPU, or the CPU.

    >>> default_device({"LOCAL_RANK": "5"}, n_gpus=4)
    'cuda:1'
    """
    if n_gpus == 0:
        return "cpu"
    local = environment.get("LOCAL_RANK", environment.get("SLURM_LOCALID", ""))
    return f"cuda:{int(local) % n_gpus}" if local.isdecimal() else "cuda"


def _placement(source: Source, device: Any, dtype: Any) -> tuple[torch.device, torch.dtype | None]:
    if isinstance(dtype, str):
        dtype = getattr(torch, dtype, None)
    if dtype is not None and (not isinstance(dtype, torch.dtype) or not dtype.is_floating_point):
        raise InvalidInput("dtype is 'float32', 'float16', 'bfloat16' or 'float64' (or the torch dtype).")
    if source.module is None:
        where = default_device(os.environ, torch.cuda.device_count()) if device is None else device
        return torch.device(where), dtype
    first = next(source.module.parameters())
    wanted = torch.device(device) if device is not None else first.device
    if wanted.type != first.device.type or (wanted.index or 0) != (first.device.index or 0):
        raise InvalidInput(f"the module is on {first.device} and is never moved; move it yourself or leave device out.")
    if dtype is not None and dtype != first.dtype:
        raise InvalidInput(f"the module is in {first.dtype} and is never cast; cast it yourself or leave dtype out.")
    return first.device, first.dtype


def _bridge(module: torch.nn.Module, name: str) -> Any:
    with quiet(), torch.random.fork_rng(devices=[]):
        from transformer_lens.model_bridge.sources._bridge_builder import build_bridge_from_module

        architecture = type(module).__name__
        config: Any = module.config
        config.architectures = [architecture]  # some adapters read it, and a bare configuration has none
        try:
            # No tokenizer: the builder would change its padding; ours stays as the caller made it.
            return build_bridge_from_module(
                module, architecture=architecture, hf_config=config, tokenizer=None, model_name=name
            )
        except (ValueError, KeyError, NotImplementedError, AttributeError) as error:
            raise InvalidInput(
                f"{name} ({architecture}) is not an architecture that the bridge of transformer-lens knows: "
                f"{str(error).splitlines()[0] if str(error) else type(error).__name__}"
            ) from error


def _fingerprint(config: Any, tensors: Mapping[str, torch.Tensor]) -> str:
    essentials = {name: getattr(config, name, None) for name in _CONFIG}
    digest = hashlib.sha256(json.dumps(essentials, sort_keys=True, default=str).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach()
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.to("cpu", torch.float32).contiguous().numpy().data)
    return digest.hexdigest()
