from . import atlas as atlas, plot as plot, sae as sae, stats as stats, testing as testing
from .capturing import Activations as Activations, capture as capture
from .errors import (
    CorruptArtifact as CorruptArtifact,
    HookNotFired as HookNotFired,
    InterpError as InterpError,
    InvalidInput as InvalidInput,
    ModelMismatch as ModelMismatch,
    NonFinite as NonFinite,
    ResourceExhausted as ResourceExhausted,
    RunLocked as RunLocked,
    SaeMismatch as SaeMismatch,
    UnknownName as UnknownName,
    UnknownSite as UnknownSite,
)
from .latents import Latents as Latents
from .models import Model as Model, load_model as load_model, points as points
from .result import Result as Result, load_result as load_result
from .sae import load_sae as load_sae
from .sites import Site as Site
from .store import Store as Store
from .tokens import show_tokens as show_tokens, tokenize as tokenize

__version__: str
