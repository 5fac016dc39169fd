"""Rows of training: pure functions of (seed, number), streamed, with repeats that can be predicted alone."""

import numpy as np
import pytest

from interp.atlas.prepare import prepare
from interp.atlas.rows import (
    BOS_ID,
    IGNORE,
    PHASES,
    RowStream,
    batch_at,
    corpus_sha256,
    repeat_row,
    repeats_at,
    schedule,
    text_rows,
    texts_of_row,
)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory, corpus):
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("tokenizer")
    prepare(folder, n_texts=1500, vocab_size=900, n_cities=150)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


def test_a_row_does_not_depend_on_those_before_it(corpus, tokenizer):
    whole = text_rows(corpus, tokenizer, 4, 0, 12)
    assert (text_rows(corpus, tokenizer, 4, 7, 3) == whole[7:10]).all()
    assert (text_rows(corpus, tokenizer, 5, 0, 12) != whole).any()


def test_a_row_is_texts_each_behind_its_bos(corpus, tokenizer):
    row = text_rows(corpus, tokenizer, 4, 2, 1)[0]
    parts = list(texts_of_row(corpus, tokenizer, 4, 2))
    assert row.tolist() == [i for _, ids, _ in parts for i in ids]
    assert all(ids[0] == BOS_ID and BOS_ID not in ids[1:] for _, ids, _ in parts)
    for text, ids, read in parts[:-1]:
        assert read == text.length
        assert tokenizer.decode(ids).strip() == text.text


def test_what_was_read_of_a_cut_text_is_its_beginning(corpus, tokenizer):
    for number in range(40):
        text, ids, read = list(texts_of_row(corpus, tokenizer, 9, number))[-1]
        shown = tokenizer.decode(ids).strip().rstrip("\ufffd")
        assert text.text[:read].strip() == shown.strip()


def test_a_stream_gives_the_rows_whoever_makes_them(tokenizer):
    from interp.atlas.corpus import Corpus
    from interp.atlas.world import default_world

    expected = text_rows(Corpus(default_world(150)), tokenizer, 1, 3, 20, n_ctx=64)
    with RowStream(tokenizer, seed=1, n_cities=150, n_ctx=64, workers=2, chunk=8) as stream:
        assert (stream.read(3, 9) == expected[:9]).all()
        assert (stream.read(12, 11) == expected[9:]).all()
        assert (stream.read(4, 2) == expected[1:3]).all()


def test_the_hash_names_the_corpus(tokenizer):
    same = [corpus_sha256(tokenizer, 0, n_cities=150, rows=8) for _ in range(2)]
    assert same[0] == same[1] != corpus_sha256(tokenizer, 1, n_cities=150, rows=8)


@pytest.mark.parametrize("seed", range(6))
def test_a_row_of_repeats_has_loss_only_where_it_repeats(seed):
    ids, targets = repeat_row(np.random.default_rng(seed), 128, 600)
    first = int(np.flatnonzero(targets != IGNORE)[0])
    assert ids[0] == BOS_ID
    periods = [p for p in range(4, min(64, first + 1)) if (ids[first + 1 :] == ids[first + 1 - p : -p]).all()]
    assert periods
    assert (targets[first:-1] == ids[first + 1 :]).all()
    assert (targets[first:] != IGNORE).all()


def test_one_phase_is_heavy_in_repeats():
    assert sum(share for share, _ in PHASES) == pytest.approx(1)
    assert repeats_at(0.05) < repeats_at(0.15) > repeats_at(0.95)


def test_text_rows_are_read_once_and_in_order():
    repeats, first = schedule(12, 8)
    read = np.concatenate([np.arange(f, f + 8 - r) for f, r in zip(first, repeats, strict=True)])
    assert read.tolist() == list(range(len(read)))


def test_a_batch_is_text_and_then_repeats():
    text = np.arange(1, 65, dtype=np.uint16).reshape(4, 16)
    ids, targets = batch_at(text, 3, n_repeat=2, vocab=50, seed=0)
    assert ids.shape == targets.shape == (6, 16)
    assert (ids[:4] == text).all()
    assert (targets[:4, :-1] == text[:, 1:]).all()
    assert (targets[:4, -1] == IGNORE).all()
    again, other = (batch_at(text, step, n_repeat=2, vocab=50, seed=0)[0] for step in (3, 4))
    assert (again == ids).all()
    assert (other[4:] != ids[4:]).any()
