"""Probes of the words of sentences: part of speech, a feature of morphology, the relation to the head.

A word is the mean of its tokens, or its first or last one. Sentences are the groups; the control task gives each word
form a label at random and keeps it wherever the form occurs.

Reference: Hewitt & Liang 2019; Liu et al. 2019 (token-level tasks).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from analyses.probing.compute import ProbeConfig
from analyses.probing.conllu import Sentence
from analyses.probing.fitting import require_kind
from analyses.probing.labels import read_labels
from analyses.probing.layers import TRAINED
from analyses.probing.run import VIEW, notes
from analyses.probing.source import model_source, probe_source
from interp.errors import InvalidInput, nearest
from interp.provenance import provenance
from interp.result import Result

if TYPE_CHECKING:
    from interp.models import Model
    from interp.store import Store

POOLINGS = ("mean", "first", "last")
TASKS = ("upos", "xpos", "deprel", "head")
MORPHOLOGY = "feats."


def word_labels(sentences: Sequence[Sentence], task: str) -> np.ndarray:
    """Return the label of every word, object [n_words], None where it has none.

    Args:
        task: "upos", "xpos", "deprel", "head" (is the head to the "left" or "right", or is the word the "root"), or
            "feats.Number" and the like.

    Raises:
        InvalidInput: no such task, or a feature that no word has.
    """
    words = [(i, word) for sentence in sentences for i, word in enumerate(sentence.words)]
    if task.startswith(MORPHOLOGY):
        name = task.removeprefix(MORPHOLOGY)
        found = {feature for _, word in words for feature in word.feats}
        if name not in found:
            near = ", ".join(nearest(name, sorted(found))) or "none at all"
            raise InvalidInput(f"no word has the feature {name!r}; nearest: {near}. Names are case-sensitive.")
        return np.array([word.feats.get(name) for _, word in words], dtype=object)
    if task not in TASKS:
        raise InvalidInput(
            f"task={task!r} is none of {', '.join(TASKS)}, feats.NAME; nearest: {nearest(task, TASKS)[0]}."
        )
    if task == "head":
        return np.array([_side(i, word.head) for i, word in words], dtype=object)
    return np.array([getattr(word, task) or None for _, word in words], dtype=object)


def _side(i: int, head: int) -> str | None:
    return None if head == -2 else "root" if head == -1 else "left" if head < i else "right"


def word_matrix(model: Model, sentences: Sequence[Sentence], *, pooling: str = "mean") -> Any:
    """Return what turns rows of tokens (`capture(..., pool="none")`) into rows of words, scipy CSR [n_words, n_tokens].

    Raises:
        InvalidInput: another pooling, or a word without a token of its own.
    """
    from interp.tokens import encode

    if pooling not in POOLINGS:
        raise InvalidInput(f"pooling={pooling!r} is none of {', '.join(POOLINGS)}.")
    encoded = encode(model, [sentence.text for sentence in sentences], offsets=True)
    if encoded.offsets is None:
        raise InvalidInput(f"the tokenizer of {model.name} tells no characters of its tokens; take a fast tokenizer.")
    rows, columns, weights, first, n_words = [], [], [], 0, 0
    for i, sentence in enumerate(sentences):
        tokens = slice(encoded.starts[i], encoded.starts[i + 1])
        offsets = encoded.offsets[tokens][~encoded.special[tokens]]
        for word in sentence.words:
            held = np.flatnonzero((offsets[:, 0] < word.span[1]) & (offsets[:, 1] > word.span[0]))
            if not len(held):
                raise InvalidInput(f"{word.form!r} of sentence {i} ({sentence.text[:40]!r}) has no token.")
            held = {"mean": held, "first": held[:1], "last": held[-1:]}[pooling]
            rows += [n_words] * len(held)
            columns += (first + held).tolist()
            weights += [1 / len(held)] * len(held)
            n_words += 1
        first += len(offsets)
    return sparse.csr_matrix((weights, (rows, columns)), shape=(n_words, first))


def probe_words(
    model: Model,
    sentences: Sequence[Sentence],
    task: str,
    sites: Sequence[str] | None = None,
    *,
    pooling: str = "mean",
    kind: str = "ridge",
    seed: int = 0,
    twin: Model | None = None,
    min_count: int = 20,
    n_perm: int | None = None,
    n_boot: int = 500,
    test_share: float = 0.3,
    store: Store | None = None,
) -> Result:
    """Probe every site of a model and of its random-weights twin for a label of words.

    Args:
        sentences: from `read_conllu`. task: see `word_labels`. pooling: of a word's tokens, "mean", "first" or "last".
        min_count: labels of fewer words are left out, and counted in the provenance.
        sites, kind, seed, twin, n_perm, n_boot, test_share, store: see `probe_layers`.

    Returns:
        Result "probing.layers" as of `probe_layers`: groups are sentences, the types of the control task word forms.

    Raises:
        InvalidInput: as `probe` and `word_labels`, or fewer than two labels of `min_count` words.
    """
    config = ProbeConfig(kind, "classes", 5, n_perm, n_boot, False, seed)
    labels = word_labels(sentences, task)
    counts = {label: int((labels == label).sum()) for label in set(labels) - {None}}
    keep = np.array([label is not None and counts[label] >= min_count for label in labels])
    if len(set(labels[keep])) < 2:
        raise InvalidInput(
            f"{task}: fewer than two labels have {min_count} words; there are {dict(sorted(counts.items()))}. "
            "Give more sentences, or a smaller min_count."
        )
    require_kind(kind, read_labels(labels[keep], "classes"))
    matrix = word_matrix(model, sentences, pooling=pooling)[keep]
    texts = [sentence.text for sentence in sentences]
    source = model_source(
        model, twin, texts, sites, seed=seed, pool="none", choice=f"{task} {pooling} {min_count}",
        reshape=lambda acts, site: matrix @ np.asarray(acts[site], dtype=np.float64),
    )  # fmt: skip
    groups = np.repeat(np.arange(len(sentences)), [len(s.words) for s in sentences])[keep]
    types = np.array([word.form.casefold() for s in sentences for word in s.words], dtype=object)[keep]
    rows, chosen, key = probe_source(
        source, labels[keep], groups, types, config, test_share=test_share, store=store, folder=f"probing/{task}"
    )
    about = provenance(
        key, seed=seed, model=model.name, task=task, pooling=pooling, sites=source.sites[TRAINED][1:],
        n_left_out=int((~keep).sum()),
    )  # fmt: skip
    return Result("probing.layers", rows, {"chosen": chosen}, about, VIEW, notes(config))
