"""Papers, data and software behind each analysis. A `Result` stores its name alone; `Result.cite()` looks here."""

from __future__ import annotations

from collections.abc import Iterable

REFERENCES: dict[str, str] = {
    "belrose2023": "Belrose et al. (2023). LEACE: perfect linear concept erasure in closed form. NeurIPS. "
    "arXiv:2306.03819.",
    "benjamini1995": "Benjamini & Hochberg (1995). Controlling the false discovery rate. Journal of the Royal "
    "Statistical Society B 57, 289-300.",
    "cliff1981": "Cliff & Ord (1981). Spatial processes: models and applications. Pion.",
    "anselin1995": "Anselin (1995). Local indicators of spatial association (LISA). Geographical Analysis 27, 93-115.",
    "desabbata2025": "De Sabbata, Mizzaro & Roitero (2025). Geospatial mechanistic interpretability of large language "
    "models. arXiv:2505.03368.",
    "elazar2021": "Elazar et al. (2021). Amnesic probing: behavioral explanation with amnesic counterfactuals. TACL 9.",
    "elhage2021": "Elhage et al. (2021). A mathematical framework for transformer circuits. Transformer Circuits.",
    "freedman1983": "Freedman & Lane (1983). A nonstochastic interpretation of reported significance levels. Journal "
    "of Business & Economic Statistics 1, 292-298.",
    "gao2024": "Gao et al. (2024). Scaling and evaluating sparse autoencoders. arXiv:2406.04093.",
    "gould2023": "Gould et al. (2023). Successor heads: recurring, interpretable attention heads in the wild. "
    "arXiv:2312.09230.",
    "gurnee2023": "Gurnee et al. (2023). Finding neurons in a haystack: case studies with sparse probing. TMLR. "
    "arXiv:2305.01610.",
    "gurnee2023space": "Gurnee & Tegmark (2023). Language models represent space and time. arXiv:2310.02207.",
    "hewitt2019": "Hewitt & Liang (2019). Designing and interpreting probes with control tasks. EMNLP.",
    "hewitt2019tree": "Hewitt & Manning (2019). A structural probe for finding syntax in word representations. NAACL.",
    "hsu2023": "Hsu et al. (2023). Disentanglement via latent quantization. NeurIPS. arXiv:2305.18378.",
    "kissane2024": "Kissane et al. (2024). Interpreting attention layer outputs with sparse autoencoders. "
    "arXiv:2406.17759.",
    "ma2025": "Ma et al. (2025). Task-specific data selection for instruction tuning via monosemantic neuronal "
    "activations. NeurIPS. arXiv:2503.15573.",
    "mcdougall2023": "McDougall et al. (2023). Copy suppression: comprehensively understanding an attention head. "
    "arXiv:2310.04625.",
    "moran1950": "Moran (1950). Notes on continuous stochastic phenomena. Biometrika 37, 17-23.",
    "olsson2022": "Olsson et al. (2022). In-context learning and induction heads. Transformer Circuits.",
    "pach2025": "Pach et al. (2025). Sparse autoencoders learn monosemantic features in vision-language models. "
    "arXiv:2504.02821.",
    "park2024": "Park et al. (2024). Monet: mixture of monosemantic experts for transformers. arXiv:2412.04139.",
    "roberts2017": "Roberts et al. (2017). Cross-validation strategies for data with temporal, spatial, hierarchical, "
    "or phylogenetic structure. Ecography 40, 913-929.",
    "voita2020": "Voita & Titov (2020). Information-theoretic probing with minimum description length. EMNLP.",
    "wang2022": "Wang et al. (2022). Interpretability in the wild: a circuit for indirect object identification in "
    "GPT-2 small. arXiv:2211.00593.",
    "geonames": "Data: GeoNames, geonames.org, CC BY 4.0 (the bundled places; places of your own have their own "
    "source).",
    "naturalearth": "Data: Natural Earth, 1:110m countries, public domain (the outlines of maps).",
    "transformerlens": "Software: Nanda & Bloom (2022). TransformerLens.",
}

_SAE = ("gao2024",)
_MORAN = ("moran1950", "cliff1981", "benjamini1995")
_MAP = ("geonames", "naturalearth")
KEYS: dict[str, tuple[str, ...]] = {
    "geospatial": ("desabbata2025", *_MORAN, "anselin1995", "freedman1983", *_SAE, *_MAP, "transformerlens"),
    "geospatial.decoding": ("gurnee2023space", "roberts2017", *_MAP, "transformerlens"),
    "geospatial.geo_probe": ("gurnee2023space", "roberts2017"),
    "probing": ("hewitt2019", "voita2020", "belrose2023", "elazar2021", "gurnee2023", "geonames", "transformerlens"),
    "probing.structural": ("hewitt2019tree",),
    "attention": ("kissane2024", "elhage2021", "olsson2022", "gould2023", "mcdougall2023", "wang2022", *_SAE,
                  "transformerlens"),
    "polysemanticity": ("pach2025", "park2024", *_SAE, "transformerlens"),
    "polysemanticity.infomec": ("hsu2023",),
    "data_selection": ("ma2025", *_SAE, "transformerlens"),
    "sae": (*_SAE, "transformerlens"),
}  # fmt: skip
"""Keys of references by name of a result; "probing.layers" has those of "probing" unless it stands here itself."""


def cite(names: str | Iterable[str]) -> list[str]:
    """Return the references of one or more results by name, each once: papers by author, then data, then software."""
    wanted: set[str] = set()
    for name in [names] if isinstance(names, str) else names:
        own = name if name in KEYS else name.partition(".")[0]
        wanted |= set(KEYS.get(own, ()))
    order = {"Data": 1, "Software": 2}
    found = [REFERENCES[key] for key in wanted]
    return sorted(found, key=lambda text: (order.get(text.partition(":")[0], 0), text))
