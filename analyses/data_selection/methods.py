"""Every method and control of this package under one name each; a pool is read once, whatever is asked of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from analyses.data_selection.audit import shuffled_prototype
from analyses.data_selection.causal import helpful_latents
from analyses.data_selection.chance_scores import length_matched, random_scores
from analyses.data_selection.coded_pool import CodedPool, pool_of
from analyses.data_selection.coders import neuron_coder, random_sae
from analyses.data_selection.coverage import coverage_order
from analyses.data_selection.dense_scores import cosine_each, cosine_scores, gradient_vectors, sample_vectors
from analyses.data_selection.encoding import encode_pool
from analyses.data_selection.method_names import NAMES, SCORES, check_method
from analyses.data_selection.relevance import mona_scores, prototype_of, score, score_each
from analyses.data_selection.samples import Sample
from analyses.data_selection.token_windows import TokenChoice
from analyses.data_selection.transport import transport_scores
from analyses.data_selection.word_scores import bm25_scores, dsir_scores, tfidf_scores
from analyses.data_selection.worth_targets import Method
from interp.errors import InvalidInput

if TYPE_CHECKING:
    from interp.models import Model


class StandardMethods:
    """The methods `NAMES`, and "random", on one pool; what they share is computed when the first of them is asked.

    Args:
        pool: samples that all have tokens to pool (see `encode_pool`, whose `.listed` names the others).
        model, sae: what codes the pool and the targets.
        trainee: whose gradients are compared; default the same model.
        template: see `render`.
        out: folder of the codes, so that a killed run does not code the pool again.
        seed: of the random SAE.
        coded: codes of the pool by the SAE, if they are there already.
        wanted: samples that will be picked, about: so many get mass by "transport"; default a twentieth of the pool.
        options: of `encode_pool`; with tokens="answer" all tokens of plain text are pooled.
    """

    def __init__(
        self, pool: Sequence[Sample], model: Model, sae: Any, /, *, trainee: Model | None = None,
        template: str = "plain", out: str | Path | None = None, seed: int = 0, coded: CodedPool | None = None,
        wanted: int | None = None, **options: Any,
    ) -> None:  # fmt: skip
        self.pool, self.model, self.sae, self.trainee = list(pool), model, sae, trainee or model
        self.out, self.seed, self.wanted = None if out is None else Path(out), seed, wanted
        self.options = {**options, "template": template}
        self.choice = TokenChoice(
            template=template, **{name: options[name] for name in ("max_length", "keep", "bos") if name in options}
        )
        if coded is not None:
            self.coded = coded
        self._of_target: dict[tuple[str, int], tuple[Any, Any]] = {}

    def methods(self, names: Iterable[str] = NAMES) -> dict[str, Method]:
        """Return name -> method. Raises InvalidInput for a name that is none of `NAMES`."""
        return {check_method(name): self._method(name) for name in names}

    def scores(self, name: str, examples: Sequence[Sample], seed: int) -> np.ndarray:
        """Return the scores of the pool, [sample] or [sample, example], larger is better, NaN is never picked.

        Args:
            examples: of the target.
            seed: of methods that draw.
        """
        return self._makers[check_method(name)](list(examples), seed)

    def _method(self, name: str) -> Method:
        return lambda target, seed: self.scores(name, target.examples, seed)

    @cached_property
    def _makers(self) -> dict[str, Callable[[list[Sample], int], np.ndarray]]:
        words: dict[str, Any] = {
            "bm25": lambda texts, seed: bm25_scores(self.texts, texts),
            "tf-idf": lambda texts, seed: tfidf_scores(self.texts, texts),
            "dsir": lambda texts, seed: dsir_scores(self.texts, texts),
            "dsir-gumbel": lambda texts, seed: dsir_scores(self.texts, texts, gumbel_seed=seed),
        }
        return {
            **{name: partial(self._by_code, name) for name in SCORES},
            **{name: lambda rows, seed, of=of: of([one.text for one in rows], seed) for name, of in words.items()},
            "causal": self._causal,
            "each-target": lambda rows, seed: score_each(self.coded, self.code_examples(rows)),
            "coverage": self._coverage,
            "shuffled-target": lambda rows, seed: mona_scores(
                self.coded, shuffled_prototype(self.code_examples(rows), self.coded, seed=seed)
            ),
            "neurons": lambda rows, seed: mona_scores(self.neurons, self.code_examples(rows, "neurons")),
            "random-sae": lambda rows, seed: mona_scores(self.random, self.code_examples(rows, "random-sae")),
            "residual": lambda rows, seed: cosine_scores(*self._residuals(rows)),
            "residual-centred": lambda rows, seed: cosine_scores(*self._residuals(rows), centre=True),
            "transport": lambda rows, seed: transport_scores(
                *self._residuals(rows), n=self.wanted or max(1, len(self.pool) // 20)
            ),
            "rds+": lambda rows, seed: cosine_each(self.weighted, self._cached("weighted", rows, self._weighted)),
            "gradient": lambda rows, seed: cosine_each(self.gradients, self._cached("grad", rows, self._gradients)),
            "longest": lambda rows, seed: self.lengths.astype(float),
            "length-matched": self._length_matched,
            "random": lambda rows, seed: random_scores(len(self.pool), seed=seed),
        }

    def _by_code(self, name: str, examples: list[Sample], seed: int) -> np.ndarray:
        return score(self.coded, self.code_examples(examples), method=name, seed=seed)["score"].to_numpy()

    def _causal(self, examples: list[Sample], seed: int) -> np.ndarray:
        return mona_scores(self.coded, self.causal_prototype(examples))

    def causal_prototype(self, examples: list[Sample]) -> np.ndarray:
        """Return the prototype with the latents alone whose ablation raises the loss of the examples."""
        prototype = prototype_of(self.code_examples(examples), self.coded.n_features)

        def find(rows: list[Sample]) -> np.ndarray:
            return helpful_latents(self.model, self.sae, rows, prototype, template=self.options["template"])

        return prototype * self._cached("helpful", examples, find)

    def _coverage(self, examples: list[Sample], seed: int) -> np.ndarray:
        out = np.full(len(self.pool), np.nan)
        order = coverage_order(self.coded, self.code_examples(examples), len(self.pool))
        out[order] = -np.arange(len(order))
        return out

    def _length_matched(self, examples: list[Sample], seed: int) -> np.ndarray:
        n = min(len(self.pool), max(1, 2 * self.wanted if self.wanted else len(self.pool) // 8))
        rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(93,)))
        wanted = rng.choice(self.code_examples(examples).rows["n_tokens"].to_numpy(), n)
        out = np.full(len(self.pool), np.nan)
        out[length_matched(self.lengths, wanted, seed=seed)] = rng.permutation(n)
        return out

    def know(self, examples: Sequence[Sample], coded: CodedPool) -> None:
        """Take codes of target examples that are there already."""
        self._of_target["sae", id(examples[0])] = (list(examples), coded)

    def code_examples(self, examples: list[Sample], coder: str = "sae") -> CodedPool:
        """Return the codes of target examples by "sae", "random-sae" or "neurons"."""
        return self._cached(coder, examples, lambda rows: self._encode(rows, self._coders[coder], None))

    @property
    def lengths(self) -> np.ndarray:
        """Pooled tokens of each sample, int64 [row]."""
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
        return self._encode(self.pool, self._coders["random-sae"], "random-sae")

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
        k = config.k or max(1, round(float(np.median(self.coded.rows["n_features"] / self.lengths))))
        layer = int(str(config.site).split(".")[1])
        return {
            "sae": self.sae,
            "neurons": neuron_coder(self.model, layer, k),
            "random-sae": random_sae(self.sae, self.seed),
        }

    def _residuals(self, examples: list[Sample]) -> tuple[np.ndarray, np.ndarray]:
        pool, target = self.coded.residual, self.code_examples(examples).residual
        if pool is None or target is None:
            raise InvalidInput("the mean activations were not kept (residual=False); code pool and target with them.")
        return pool, target

    def _cached(self, kind: str, examples: list[Sample], make: Any) -> Any:
        key = (kind, id(examples[0]))
        if key not in self._of_target:
            self._of_target[key] = (examples, make(examples))  # the examples are kept, so that ids stay theirs
        return self._of_target[key][1]

    def _encode(self, rows: Sequence[Sample], coder: Any, name: str | None) -> CodedPool:
        out = None if self.out is None or name is None else self.out / name
        plain = np.array([one.turns[0].role == "text" for one in rows], dtype=bool)
        if self.options.get("tokens") != "answer" or not plain.any():
            return _whole(encode_pool(rows, self.model, coder, out=out, **self.options))
        parts = []
        for at, tokens in ((np.flatnonzero(plain), "all"), (np.flatnonzero(~plain), "answer")):
            if len(at):
                of, where = [rows[int(i)] for i in at], None if out is None else out / tokens
                parts.append((at, _whole(encode_pool(of, self.model, coder, out=where,
                                                     **{**self.options, "tokens": tokens}))))  # fmt: skip
        return _interleaved(parts)

    def _weighted(self, rows: Sequence[Sample]) -> np.ndarray:
        return sample_vectors(self.model, rows, choice=self.choice)

    def _gradients(self, rows: Sequence[Sample]) -> np.ndarray:
        out = np.empty((len(rows), 4096), dtype=np.float32)
        is_text = np.array([one.turns[0].role == "text" for one in rows], dtype=bool)
        for part, tokens in ((is_text, "all"), (~is_text, "answer")):
            at = np.flatnonzero(part)
            choice = replace(self.choice, tokens=tokens)
            out[at] = gradient_vectors(self.trainee, [rows[int(i)] for i in at], choice=choice, dim=out.shape[1])
        return out


def standard_methods(
    pool: Sequence[Sample], model: Model, sae: Any, /, *, names: Iterable[str] = NAMES, **options: Any
) -> dict[str, Method]:
    """Return name -> method for all methods and controls of this package; options see `StandardMethods`."""
    return StandardMethods(pool, model, sae, **options).methods(names)


def _whole(coded: CodedPool) -> CodedPool:
    if len(coded.listed):
        raise InvalidInput(f"{len(coded.listed)} samples have no token to pool; leave them out (encode_pool).")
    return coded


def _interleaved(parts: list[tuple[np.ndarray, CodedPool]]) -> CodedPool:
    """Return one pool of parts that were coded in different ways, each with the places of its rows."""
    back = np.argsort(np.concatenate([at for at, _ in parts]), kind="stable")
    stacked: Any = sparse.vstack([one.matrix() for _, one in parts], format="csr")
    tokens, ids = (np.concatenate([one.rows[name].to_numpy() for _, one in parts])[back] for name in ("n_tokens", "id"))
    coded = pool_of(stacked[back], n_tokens=tokens, ids=[str(one) for one in ids], about=parts[0][1].about)
    residuals = [one.residual for _, one in parts if one.residual is not None]
    return coded if len(residuals) < len(parts) else replace(coded, residual=np.concatenate(residuals)[back])
