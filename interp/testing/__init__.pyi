from .examples import example_files as example_files
from .planted_attention import (
    PlantedAttention as PlantedAttention,
    PlantedSuppressor as PlantedSuppressor,
    planted_layer as planted_layer,
    planted_suppressor as planted_suppressor,
)
from .planted_units import PlantedUnits as PlantedUnits, concept_units as concept_units
from .tiny import (
    TokenizerStyle as TokenizerStyle,
    tiny_model as tiny_model,
    tiny_module as tiny_module,
    tiny_tokenizer as tiny_tokenizer,
)
