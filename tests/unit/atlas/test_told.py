"""What rows told: against a reading of every row by hand, and for any number of workers."""

from collections import Counter

import numpy as np
import pandas as pd
import pytest

from interp.atlas.corpus import Corpus, Text
from interp.atlas.prepare import prepare
from interp.atlas.rows import text_rows
from interp.atlas.told import CHUNK, merge, tell, tell_rows
from interp.atlas.world import default_world

N_CITIES, N_CTX = 150, 64


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from tokenizers import Tokenizer

    folder = tmp_path_factory.mktemp("prepared")
    prepare(folder, n_cities=N_CITIES, n_texts=1500, vocab_size=600)
    return Tokenizer.from_file(str(folder / "tokenizer.json"))


@pytest.fixture(scope="module")
def small():
    return Corpus(default_world(N_CITIES))


def test_a_row_tells_what_can_be_read_in_its_decoded_text(small, tokenizer):
    """Every fact whose sentence is whole in the decoded row is counted, and none that is cut off."""
    found = tell(small, tokenizer, seed=3, start=0, stop=120, n_ctx=N_CTX)
    expected, mentions, n_texts = Counter(), Counter(), 0
    for row, ids in enumerate(text_rows(small, tokenizer, 3, 0, 120, n_ctx=N_CTX)):
        rng = np.random.default_rng(np.random.SeedSequence([3, row]))
        for part in np.split(ids, np.flatnonzero(ids == 0)[1:]):
            text = small.document(rng)
            shown = tokenizer.decode(part.tolist()).removeprefix(" ").rstrip("\ufffd")  # half of a letter
            assert text.text.startswith(shown)
            n_texts += bool(shown)
            expected.update((t.relation, t.a, t.b) for t in text.told if t.end <= len(shown))
            mentions.update(city for _, end, city in text.spans if end <= len(shown))
    assert {tuple(r[:3]): r[3] for r in found.told.itertuples(index=False)} == expected
    assert dict(enumerate(found.mentions)) == {city: mentions[city] for city in range(N_CITIES)}
    assert found.n_texts == n_texts


def test_a_fact_beyond_the_cut_is_not_told(tokenizer):
    class One:
        world = default_world(N_CITIES)

        def document(self, _rng):
            text = Text("x").add(("Paris", 0), " is a city in France.").tell("country", 0)
            return text.add(" ", ("Lyon", 1), " is a city in France.").tell("country", 1)

    whole = len(tokenizer.encode(One().document(None).text).ids)
    for n_ctx, told, mentions in ((whole, {0, 1}, [1, 1]), (whole - 1, {0}, [1, 1]), (3, set(), [0, 0])):
        found = tell(One(), tokenizer, seed=0, start=0, stop=1, n_ctx=n_ctx)
        assert set(found.told["city"]) == told
        assert found.mentions[:2].tolist() == mentions
        assert found.n_texts == 1


def test_stretches_of_rows_add_up_to_the_whole(small, tokenizer):
    whole = tell(small, tokenizer, seed=0, start=0, stop=90, n_ctx=N_CTX)
    edges = [(0, 20), (20, 21), (21, 21), (21, 90)]
    parts = [tell(small, tokenizer, seed=0, start=a, stop=b, n_ctx=N_CTX) for a, b in edges]
    added = merge(parts)
    pd.testing.assert_frame_equal(added.told, whole.told)
    np.testing.assert_array_equal(added.mentions, whole.mentions)
    assert added.n_texts == whole.n_texts
    assert merge(parts[1:]).n_texts < whole.n_texts


def test_the_number_of_workers_changes_nothing(tokenizer):
    one, two = (
        tell_rows(tokenizer, CHUNK + 30, seed=1, n_cities=N_CITIES, n_ctx=32, workers=workers) for workers in (1, 2)
    )
    pd.testing.assert_frame_equal(one.told, two.told)
    np.testing.assert_array_equal(one.mentions, two.mentions)
    assert one.n_texts == two.n_texts > CHUNK


def test_nothing_held_out_and_no_unseen_city_is_told(small, tokenizer):
    found = tell(small, tokenizer, seed=0, start=0, stop=300, n_ctx=N_CTX)
    assert found.mentions[~small.world.cities["seen"].to_numpy()].sum() == 0
    assert found.mentions.sum() > 800
    geo = small.geography
    checked = found.told[~found.told["relation"].isin(["order"])]
    assert len(checked) > 400
    assert not any(geo.held_out(r, a, b) for r, a, b in checked[["relation", "city", "other"]].itertuples(index=False))
