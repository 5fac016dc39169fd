"""Every method and control of this package under one name each, as functions of a target; a pool is coded once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from analyses.data_selection.audit import shuffled_prototype
from analyses.data_selection.chance_scores import length_matched
from analyses.data_selection.coded_pool import CodedPool
from analyses.data_selection.coders import neuron_coder, random_sae
from analyses.data_selection.coverage import coverage_order
from analyses.data_selection.dense_scores import cosine_each, cosine_scores, gradient_vectors, sample_vectors
from analyses.data_selection.encoding import encode_pool
from analyses.data_selection.relevance import mona_scores, score, score_each
from analyses.data_selection.samples import Sample
from analyses.data_selection.token_windows import TokenChoice
from analyses.data_selection.word_scores import bm25_scores, dsir_scores, tfidf_scores
from analyses.data_selection.worth_targets import Method, Target
from interp.errors import InvalidInput, nearest

if TYPE_CHECKING:
    from interp.models import Model

SAE_METHODS = ("mona", "mona background off", "mona random targets off", "sae each target in turn", "sae cosine")
CONTROLS = ("random sae", "shuffled prototype", "longest", "length matched")
NAMES = (
    *SAE_METHODS, "coverage", "neurons", "residual cosine", "residual cosine centred", "rds+", "gradient cosine",
    "bm25", "tf-idf", "dsir", *CONTROLS,
)  # fmt: skip


class StandardMethods:
    """The methods `NAMES` on one pool; what they share is computed when the first of them is asked.

    Args:
        pool: samples that all have tokens to pool (see `encode_pool`, whose `.listed` names the others).
        model, sae: what codes the pool and the targets.
        trainee: whose gradients are compared; default the same model.
        template: see `render`.
        out: folder of the codes, so that a killed run does not code the pool again.
        seed: of the random SAE.
    """

    def __init__(
        self, pool: Sequence[Sample], model: Model, sae: Any, *, trainee: Model | None = None,
        template: str = "plain", out: str | Path | None = None, seed: int = 0,
    ) -> None:  # fmt: skip
        self.pool, self.model, self.sae, self.trainee = list(pool), model, sae, trainee or model
        self.choice, self.out, self.seed = TokenChoice(template=template), None if out is None else Path(out), seed
        self._of_target: dict[tuple[str, int], tuple[Any, Any]] = {}

    def methods(self, names: Sequence[str] = NAMES) -> dict[str, Method]:
        """Return name -> method.

        Raises:
            InvalidInput: a name that is none of `NAMES`.
        """
        unknown = [name for name in names if name not in NAMES]
        if unknown:
            near = ", ".join(map(repr, nearest(unknown[0], NAMES)))
            raise InvalidInput(f"there is no method {unknown[0]!r}. Nearest: {near}.")
        return {name: self._method(name) for name in names}

    def _method(self, name: str) -> Method:
        return lambda target, seed: self._scores(name, target, seed)

    def _scores(self, name: str, target: Target, seed: int) -> np.ndarray:
        examples = list(target.examples)
        texts = [one.text for one in examples]
        if name in ("bm25", "tf-idf", "dsir"):
            return {"bm25": bm25_scores, "tf-idf": tfidf_scores, "dsir": dsir_scores}[name](self.texts, texts)
        if name in ("longest", "length matched"):
            return self._by_length(name, self._coded("target", examples), seed)
        if name == "gradient cosine":
            return cosine_each(self.gradients, self._cached("gradient", examples, self._gradients))
        if name == "rds+":
            return cosine_each(self.weighted, self._cached("weighted", examples, self._weighted))
        if name in ("neurons", "random sae"):
            pool = self.neurons if name == "neurons" else self.random
            return mona_scores(pool, self._coded(name, examples))
        codes = self._coded("target", examples)
        if name.startswith("residual"):
            vectors: tuple[Any, Any] = (self.coded.residual, codes.residual)
            return cosine_scores(*vectors, centre=name.endswith("centred"))
        return self._by_codes(name, codes, seed)

    def _by_codes(self, name: str, codes: CodedPool, seed: int) -> np.ndarray:
        if name == "mona":
            return mona_scores(self.coded, codes)
        if name == "sae each target in turn":
            return score_each(self.coded, codes)
        if name == "shuffled prototype":
            return mona_scores(self.coded, shuffled_prototype(codes, self.coded, seed=seed))
        if name == "coverage":
            out = np.full(len(self.pool), np.nan)
            order = coverage_order(self.coded, codes, len(self.pool))
            out[order] = -np.arange(len(order))
            return out
        kind = {"mona background off": "background", "mona random targets off": "matched", "sae cosine": "cosine"}
        return score(self.coded, codes, method=kind[name], seed=seed)["score"].to_numpy()

    def _by_length(self, name: str, codes: CodedPool, seed: int) -> np.ndarray:
        if name == "longest":
            return self.lengths.astype(float)
        n = max(1, len(self.pool) // 8)
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(93,)))
        rows = length_matched(self.lengths, rng.choice(codes.rows["n_tokens"].to_numpy(), n), seed=seed)
        out = np.full(len(self.pool), np.nan)
        out[rows] = rng.permutation(n)
        return out

    @property
    def lengths(self) -> np.ndarray:
        """Tokens of each sample, int64 [row]."""
        return self.coded.rows["n_tokens"].to_numpy()

    @cached_property
    def texts(self) -> list[str]:
        """Text of each sample."""
        return [one.text for one in self.pool]

    @cached_property
    def coded(self) -> CodedPool:
        """Codes of the pool."""
        return self._encode(self.pool, self.sae, "sae")

    @cached_property
    def neurons(self) -> CodedPool:
        """Codes of the pool by MLP neurons of the SAE's layer, as many a token as the SAE has active."""
        return self._encode(self.pool, self._coders["neurons"], "neurons")

    @cached_property
    def random(self) -> CodedPool:
        """Codes of the pool by an SAE of random directions."""
        return self._encode(self.pool, self._coders["random sae"], "random-sae")

    @cached_property
    def weighted(self) -> np.ndarray:
        """Vectors of RDS+."""
        return self._weighted(self.pool)

    @cached_property
    def gradients(self) -> np.ndarray:
        """Sketched gradients of the trainee."""
        return self._gradients(self.pool)

    @cached_property
    def _coders(self) -> dict[str, Any]:
        config = self.sae.config
        k = config.k or max(1, round(float(np.median(self.coded.rows["n_features"] / self.coded.rows["n_tokens"]))))
        layer = int(str(config.site).split(".")[1])
        return {
            "target": self.sae, "neurons": neuron_coder(self.model, layer, k),
            "random sae": random_sae(self.sae, self.seed),
        }  # fmt: skip

    def _coded(self, coder: str, examples: list[Sample]) -> CodedPool:
        return self._cached(coder, examples, lambda rows: self._encode(rows, self._coders[coder], None))

    def _cached(self, kind: str, examples: list[Sample], make: Any) -> Any:
        key = (kind, id(examples[0]))
        if key not in self._of_target:
            self._of_target[key] = (examples, make(examples))  # the examples are kept, so that ids stay theirs
        return self._of_target[key][1]

    def _encode(self, rows: Sequence[Sample], coder: Any, name: str | None) -> CodedPool:
        out = None if self.out is None or name is None else self.out / name
        coded = encode_pool(rows, self.model, coder, out=out, template=self.choice.template)
        if len(coded.listed):
            raise InvalidInput(f"{len(coded.listed)} samples have no token to pool; leave them out (encode_pool).")
        return coded

    def _weighted(self, rows: Sequence[Sample]) -> np.ndarray:
        return sample_vectors(self.model, rows, choice=self.choice)

    def _gradients(self, rows: Sequence[Sample]) -> np.ndarray:
        out = np.empty((len(rows), 4096), dtype=np.float32)
        is_text = np.array([one.turns[0].role == "text" for one in rows], dtype=bool)
        for part, tokens in ((is_text, "all"), (~is_text, "answer")):
            at = np.flatnonzero(part)
            choice = TokenChoice(template=self.choice.template, tokens=tokens)
            out[at] = gradient_vectors(self.trainee, [rows[int(i)] for i in at], choice=choice, dim=out.shape[1])
        return out


def standard_methods(
    pool: Sequence[Sample], model: Model, sae: Any, *, names: Sequence[str] = NAMES, **options: Any
) -> dict[str, Method]:
    """Return name -> method for all methods and controls of this package; options see `StandardMethods`."""
    return StandardMethods(pool, model, sae, **options).methods(names)
