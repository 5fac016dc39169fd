"""Exactly the BOS that was asked for, spans that cover their name, and an untouched tokenizer."""

import numpy as np
import pytest

from interp.errors import InvalidInput
from interp.testing import tiny_model, tiny_tokenizer
from interp.tokens import encode, show_tokens, tokenize

STYLES = ["plain", "bos", "bos_eos_left"]
POLICIES = ["always", "never", "tokenizer"]
TOKENIZERS = {style: tiny_tokenizer(style) for style in STYLES}


def _texts(bos):
    rng = np.random.default_rng(0)
    pieces = [
        "Paris",
        " is",
        " in",
        "Zürich",
        " 東京",
        "🗺️",
        " ",
        "\n",
        "<s",
        "s>",
        "x",
        "İ",
        "e\u0301",
        "\u200b",
        "a b",
    ]
    texts = ["".join(rng.choice(pieces, size=rng.integers(1, 9))) for _ in range(150)]
    texts += [bos + t for t in texts[:30]] + [bos + bos + t for t in texts[:15]] + [f"{bos} {t}" for t in texts[:5]]
    return texts


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("policy", POLICIES)
def test_each_text_has_exactly_the_bos_that_was_asked_for(style, policy):
    tokenizer = TOKENIZERS[style]
    texts = _texts(tokenizer.bos_token)
    tokens = tokenize(tokenizer, texts, bos=policy)
    leading = tokens.ids == tokenizer.bos_token_id
    n_bos = (leading & tokens.mask).sum(1)
    begins_with_it = np.array([t.startswith(tokenizer.bos_token) for t in texts])
    if policy == "always":
        assert (n_bos == 1).all()
        assert leading[:, 0].all()
    elif policy == "never":
        assert (n_bos == 0).all()
    else:
        assert (n_bos == (1 if style != "plain" else begins_with_it)).all()
    bodies = [t.replace(tokenizer.bos_token, "") for t in texts]
    kept = [row[~special].tolist() for row, special in zip(tokens.ids, tokens.special, strict=True)]
    assert tokenizer.batch_decode(kept) == bodies


@pytest.mark.parametrize("style", STYLES)
def test_only_the_tokenizer_policy_keeps_an_eos(style):
    tokenizer = TOKENIZERS[style]
    last = {p: encode(tokenizer, ["Paris is"], bos=p).ids[-1] for p in POLICIES}
    assert last["always"] == last["never"] != tokenizer.eos_token_id
    assert (last["tokenizer"] == tokenizer.eos_token_id) == (style == "bos_eos_left")


def test_padding_is_on_the_right_and_marked_whatever_the_tokenizer_prefers():
    tokens = tokenize(TOKENIZERS["bos_eos_left"], ["Paris is in France", "a"], bos="always")
    assert tokens.ids.dtype == np.int64
    assert tokens.mask[1].tolist() == [True, True] + [False] * (tokens.ids.shape[1] - 2)
    assert tokens.special[1].tolist() == [True, False] + [True] * (tokens.ids.shape[1] - 2)
    assert tokens.lengths.tolist() == tokens.mask.sum(1).tolist()


def test_tokenizer_of_the_caller_is_not_changed():
    tokenizer = tiny_tokenizer("bos_eos_left")
    tokenizer.backend_tokenizer.enable_padding(direction="left", length=9)
    tokenizer.backend_tokenizer.enable_truncation(7)
    before = (tokenizer.backend_tokenizer.to_str(), tokenizer.padding_side, tokenizer.pad_token)
    tokens = tokenize(tokenizer, ["Paris is in the city of Paris in France", "a"], bos="always", spans=[(0, 5), (0, 1)])
    assert (tokenizer.backend_tokenizer.to_str(), tokenizer.padding_side, tokenizer.pad_token) == before
    assert tokens.lengths[1] == 2  # and its own padding and truncation did not reach the ids
    assert tokens.lengths[0] > 9


def test_missing_policy_is_an_error_that_names_the_choices():
    with pytest.raises(InvalidInput, match="'always', 'never' or 'tokenizer'"):
        tokenize(TOKENIZERS["bos"], ["Paris"])
    with pytest.raises(InvalidInput, match="bos is one of"):
        tokenize(TOKENIZERS["bos"], ["Paris"], bos="yes")


def test_model_gives_its_policy():
    assert tokenize(tiny_model(bos="never"), ["Paris"]).ids[0, 0] != 0
    assert tokenize(tiny_model(bos="always"), ["Paris"]).ids[0, 0] == 0
    with pytest.raises(InvalidInput, match="whether texts begin with BOS"):
        tokenize(tiny_model(bos=None), ["Paris"])


def test_always_needs_a_bos_token():
    tokenizer = tiny_tokenizer("plain")
    tokenizer.bos_token = None
    with pytest.raises(InvalidInput, match="no BOS token"):
        tokenize(tokenizer, ["Paris"], bos="always")
    assert tokenize(tokenizer, ["Paris"], bos="never").lengths[0] > 0


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ("Paris", "write \\[text\\]"),
        ([], "no texts"),
        (["a", ""], "text 1 is empty"),
        (["a", None], "text 1 is a NoneType"),
        (["a", b"b"], "text 1 is a bytes"),
        (["a", "<s><s>"], "text 1 .* no token but special"),
    ],
)
def test_unusable_texts_are_named(texts, message):
    with pytest.raises(InvalidInput, match=message):
        tokenize(TOKENIZERS["bos"], texts, bos="always")


def test_text_beyond_the_context_raises_or_is_cut_and_counted():
    model = tiny_model(n_ctx=8)
    with pytest.raises(InvalidInput, match=r"text 1 has 13 tokens and the model takes 8"):
        tokenize(model, ["a", "abcdefghijkl"])
    tokens = tokenize(model, ["a", "abcdefghijkl"], max_length=8)
    assert tokens.truncated.tolist() == [0, 5]
    assert tokens.lengths.tolist() == [2, 8]
    assert tokens.ids[1, 0] == 0
    with pytest.raises(InvalidInput, match="beyond the 8 tokens"):
        tokenize(model, ["a"], max_length=9)


@pytest.mark.parametrize("length", [0, -1, True, 2.5, "8"])
def test_max_length_is_a_whole_number_from_one(length):
    with pytest.raises(InvalidInput, match="max_length"):
        tokenize(TOKENIZERS["bos"], ["a"], bos="never", max_length=length)


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("name", ["Paris", "Zürich", "東京", "São Paulo", "🗺️", "Łódź", "a"])
def test_span_covers_exactly_the_tokens_of_its_name(style, policy, name):
    tokenizer = TOKENIZERS[style]
    text = f"in {name} of the city"
    tokens = tokenize(tokenizer, [text, "x"], bos=policy, spans=[(3, 3 + len(name)), (0, 1)])
    covered = tokenizer.decode(tokens.ids[0][tokens.span_mask[0]].tolist())
    assert covered.strip(" ") == name
    assert not (tokens.span_mask & tokens.special).any()


def test_leading_space_in_the_span_changes_nothing():
    tokenizer = TOKENIZERS["bos"]
    with_space, without = (
        tokenize(tokenizer, ["is in Paris"], bos="always", spans=[span]).span_mask for span in ((5, 11), (6, 11))
    )
    assert np.array_equal(with_space, without)


def test_several_spans_of_a_text_are_united():
    tokens = tokenize(TOKENIZERS["bos"], ["x Paris in London"], bos="never", spans=[[(2, 7), (11, 17)]])
    assert TOKENIZERS["bos"].decode(tokens.ids[0][tokens.span_mask[0]].tolist()) == " Paris London"


@pytest.mark.parametrize("span", [(0, 0), (3, 2), (-1, 2), (0, 99)])
def test_span_outside_the_text_raises(span):
    with pytest.raises(InvalidInput, match="is not inside its 5 characters"):
        tokenize(TOKENIZERS["bos"], ["Paris"], bos="never", spans=[span])


def test_span_that_hits_no_token_raises():
    # the characters of a BOS string belong to no token of the text once the policy has removed it
    with pytest.raises(InvalidInput, match="hits no token"):
        tokenize(TOKENIZERS["bos"], ["<s>Paris"], bos="always", spans=[(0, 3)])


def test_span_that_is_cut_off_raises():
    with pytest.raises(InvalidInput, match="cut off at 3 tokens"):
        tokenize(TOKENIZERS["bos"], ["x is in Paris"], bos="never", spans=[(8, 13)], max_length=3)


@pytest.mark.parametrize("spans", [[(0, 1)], [[], [(0, 1)]], [("a", "b"), (0, 1)], [None, (0, 1)]])
def test_malformed_spans_raise(spans):
    with pytest.raises(InvalidInput, match="span"):
        tokenize(TOKENIZERS["bos"], ["Paris", "is"], bos="never", spans=spans)


class _Slow:
    """A tokenizer without offsets, as the pure Python ones of Hugging Face."""

    is_fast = False
    bos_token_id, eos_token_id = 0, 1

    def __call__(self, texts, add_special_tokens, **options):
        assert "return_offsets_mapping" not in options
        return {"input_ids": [[0] * add_special_tokens + [ord(c) for c in t] for t in texts]}


def test_slow_tokenizer_works_until_spans_are_needed():
    tokens = tokenize(_Slow(), ["ab", "c"], bos="always")
    assert tokens.ids.tolist() == [[0, 97, 98], [0, 99, 0]]
    assert tokens.offsets is None
    with pytest.raises(InvalidInput, match="slow tokenizer"):
        tokenize(_Slow(), ["ab"], bos="always", spans=[(0, 1)])


def test_something_that_is_no_tokenizer_is_refused():
    with pytest.raises(InvalidInput, match="expected a Model or a Hugging Face tokenizer"):
        tokenize("gpt2", ["a"], bos="never")


def test_every_id_of_a_large_vocabulary_passes_unchanged():
    class Wide(_Slow):
        def __call__(self, texts, **options):
            return {"input_ids": [list(range(2, 50_257)) for _ in texts]}

    assert np.array_equal(tokenize(Wide(), ["x"], bos="never").ids[0], np.arange(2, 50_257))


def test_show_tokens_lists_what_the_model_sees():
    table = show_tokens(tiny_model(), "<s>in Paris")
    assert table["token"].tolist() == ["<s>", "i", "n", "ĠParis"]
    assert table["is_special"].tolist() == [True, False, False, False]
    assert table["text"].tolist() == ["", "i", "n", " Paris"]
    assert (table["start"].iloc[3], table["end"].iloc[3]) == (5, 11)
