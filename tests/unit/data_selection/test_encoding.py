"""Coding a pool: the definition, the token policies, shards, kills and ranks."""

import numpy as np
import pytest
import torch
from scipy import sparse

from analyses.data_selection import encode_pool, read_samples
from analyses.data_selection.coders import neuron_coder, random_sae
from analyses.data_selection.pooled_codes import cut_to_largest, pool_codes
from analyses.data_selection.samples import Turn, UnusableRow
from analyses.data_selection.templates import render
from analyses.data_selection.token_windows import TokenChoice, find_windows
from interp.errors import InvalidInput
from interp.tokens import tokenize

TURNS = (Turn("user", "Paris is"), Turn("assistant", "in France"), Turn("user", "and"), Turn("assistant", "London"))


def by_hand(model, sae, text, pool, chosen=slice(None)):
    """Codes of one text without batches: one forward pass, each token encoded, pooled by the formula."""
    tokens = tokenize(model, [text])
    _, cache = model.bridge.run_with_cache(torch.from_numpy(tokens.ids))
    codes = sae.encode(cache["blocks.0.hook_resid_post"][0])[1:].detach().numpy()[chosen].astype(float)  # no BOS
    n = len(codes)
    if pool == "weighted":
        return (np.arange(1, n + 1)[:, None] * codes).sum(0) / (n * (n + 1) / 2)
    if pool == "frequency":
        return (codes > 0).mean(0)
    return {"mean": codes.mean, "max": codes.max, "sum": codes.sum}[pool](0)


@pytest.mark.parametrize("pool", ["mean", "weighted", "max", "sum", "frequency"])
def test_codes_equal_one_text_at_a_time(model, sae, samples, pool):
    coded = encode_pool(samples, model, sae, pool=pool, batch_tokens=200)
    expected = np.array([by_hand(model, sae, sample.text, pool) for sample in samples])
    np.testing.assert_allclose(coded.matrix().toarray(), expected, atol=2e-5)
    np.testing.assert_allclose(coded.rows["mass"], expected.sum(1), rtol=1e-4)
    np.testing.assert_allclose(coded.mean, expected.mean(0), atol=2e-5)
    assert coded.rows["n_features"].tolist() == np.diff(coded.matrix().indptr).tolist()
    assert coded.rows["id"].tolist() == [sample.id for sample in samples]


def test_mean_activation_is_kept_beside(model, sae, samples):
    coded = encode_pool(samples, model, sae)
    tokens = tokenize(model, [samples.samples[3].text])
    _, cache = model.bridge.run_with_cache(torch.from_numpy(tokens.ids))
    expected = cache["blocks.0.hook_resid_post"][0, 1:].mean(0).detach().numpy()
    np.testing.assert_allclose(coded.residual[3], expected, atol=1e-5)
    assert encode_pool(samples, model, sae, residual=False).residual is None


def test_only_tokens_that_were_asked_for_are_pooled(model, sae):
    sample = read_samples([{"prompt": "Paris is", "completion": "in France"}])
    text = "Paris is\nin France"
    ids = tokenize(model, [text])
    n = int(ids.lengths[0]) - 1
    answer = [i for i in range(n) if ids.offsets[0, i + 1, 1] > text.index("in")]
    prompt = [i for i in range(n) if i not in answer]
    assert 0 < len(answer) < n
    for tokens, chosen in (("answer", answer), ("prompt", prompt), ("last:2", [n - 2, n - 1])):
        coded = encode_pool(sample, model, sae, tokens=tokens)
        np.testing.assert_allclose(coded.matrix().toarray()[0], by_hand(model, sae, text, "mean", chosen), atol=1e-5)
        assert coded.rows["n_tokens"].tolist() == [len(chosen)]


def test_cut_samples_are_counted_and_samples_without_tokens_listed(model, sae):
    long, plain = "Paris is " * 30, "the city"
    samples = read_samples(
        [{"prompt": long, "completion": "France"}, {"text": plain}, {"prompt": "a", "completion": "b"}]
    )
    coded = encode_pool(samples, model, sae, tokens="answer", max_length=20)
    assert coded.listed[["number", "reason"]].values.tolist() == [[1, "answer cut off"], [2, "no answer token"]]
    assert len(coded) + len(coded.listed) == len(samples)
    end = encode_pool(samples, model, sae, tokens="answer", max_length=20, keep="end")
    assert end.rows["number"].tolist() == [1, 3]
    assert end.rows["truncated"].tolist()[0] > 20
    assert end.rows["truncated"].tolist()[1] == 0
    kept = find_windows(model, samples.samples[:1], TokenChoice(max_length=20, keep="end"))
    assert (kept.encoded.ids[0], len(kept.encoded.ids)) == (0, 20)  # BOS stays in front


def test_a_text_of_special_tokens_is_listed(model, sae):
    coded = encode_pool(read_samples([{"text": "</s>"}, {"text": "Paris"}]), model, sae)
    assert coded.listed["reason"].tolist() == ["no token"]
    assert coded.rows["number"].tolist() == [2]


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "Paris is\nin France\nand\nLondon"),
        ("tulu", "<|user|>\nParis is\n<|assistant|>\nin France\n<|user|>\nand\n<|assistant|>\nLondon"),
        ("{role}: {content}\n", "user: Paris is\nassistant: in France\nuser: and\nassistant: London\n"),
    ],
)
def test_templates_mark_the_answers(template, text):
    found = render(TURNS, template)
    assert found.text == text
    assert [text[a:b] for a, b in found.answers] == ["in France", "London"]


def test_the_chat_template_of_a_tokenizer_is_used():
    class Tokenizer:
        chat_template = "x"

        def apply_chat_template(self, messages, tokenize, add_generation_prompt):
            text = "".join(f"[{m['role']}]{m['content'].strip()}" for m in messages)
            return text + "[assistant]" * add_generation_prompt

    found = render((Turn("user", "ass"), Turn("assistant", " as ")), "tokenizer", Tokenizer())
    assert found.text == "[user]ass[assistant]as"
    assert found.answers == ((20, 22),)

    class Refuses(Tokenizer):
        def apply_chat_template(self, *_, **__):
            raise ValueError("roles must alternate")

    with pytest.raises(UnusableRow, match="roles must alternate"):
        render(TURNS, "tokenizer", Refuses())


def test_shards_and_memory_give_the_same_bytes(model, sae, samples, tmp_path):
    held = encode_pool(samples, model, sae, shard_rows=7)
    kept = encode_pool(samples, model, sae, shard_rows=7, out=tmp_path)
    assert (held.matrix() != kept.matrix()).nnz == 0
    assert held.rows.equals(kept.rows)
    np.testing.assert_array_equal(held.residual, kept.residual)
    whole = encode_pool(samples, model, sae)
    np.testing.assert_allclose(whole.matrix().toarray(), kept.matrix().toarray(), atol=2e-5)
    assert (kept.take([30, 2, 30]) != held.matrix()[[30, 2, 30]]).nnz == 0


def test_a_killed_run_goes_on(model, sae, samples, tmp_path, monkeypatch):
    whole = encode_pool(samples, model, sae, shard_rows=7, out=tmp_path / "a")
    calls = []
    real = pool_codes

    def dies(*args):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr("analyses.data_selection.encoding.pool_codes", dies)
    with pytest.raises(KeyboardInterrupt):
        encode_pool(samples, model, sae, shard_rows=7, out=tmp_path / "b")
    again = encode_pool(samples, model, sae, shard_rows=7, out=tmp_path / "b")
    assert len(calls) == 3 + 6 - 2
    assert (again.matrix() != whole.matrix()).nnz == 0
    encode_pool(samples, model, sae, shard_rows=7, out=tmp_path / "b")
    assert len(calls) == 7
    encode_pool(samples, model, sae, shard_rows=7, out=tmp_path / "b", tokens="answer")
    assert len(calls) == 13  # another policy is another pool


def test_ranks_share_the_shards(model, sae, samples, tmp_path, monkeypatch):
    alone = encode_pool(samples, model, sae, shard_rows=7)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(InvalidInput, match="not done"):
        encode_pool(samples, model, sae, shard_rows=7, out=tmp_path)
    monkeypatch.setenv("RANK", "1")
    shared = encode_pool(samples, model, sae, shard_rows=7, out=tmp_path)
    assert (alone.matrix() != shared.matrix()).nnz == 0


def test_the_largest_entries_are_kept_and_the_rest_is_weighed(model, sae, samples):
    whole, cut = encode_pool(samples, model, sae), encode_pool(samples, model, sae, top=5)
    dense = whole.matrix().toarray().astype(float)
    assert cut.is_cut
    assert not whole.is_cut
    np.testing.assert_allclose(cut.rows["dropped"], np.sort(dense, axis=1)[:, :-5].sum(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        np.sort(cut.matrix().toarray(), axis=1)[:, -5:], np.sort(dense, axis=1)[:, -5:], rtol=1e-5
    )
    np.testing.assert_allclose(cut.mean, whole.mean)


def test_of_equal_entries_the_lower_column_is_kept():
    codes = sparse.csr_matrix(np.array([[0, 2, 1, 2, 2], [0, 0, 0, 0, 0], [5, 0, 0, 0, 1]], dtype=np.float32))
    kept, dropped = cut_to_largest(codes, 2)
    assert kept.toarray().tolist() == [[0, 2, 0, 2, 0], [0, 0, 0, 0, 0], [5, 0, 0, 0, 1]]
    assert dropped.tolist() == [3, 0, 0]


def test_controls_take_the_place_of_the_sae(model, sae, samples):
    neurons = encode_pool(samples, model, neuron_coder(model, 0, 3))
    assert neurons.n_features == 64
    other = random_sae(sae, 0)
    coded = encode_pool(samples, model, other)
    assert (coded.matrix() != encode_pool(samples, model, sae).matrix()).nnz > 0
    assert torch.equal(random_sae(sae, 0).W_dec, other.W_dec)
    assert not torch.equal(random_sae(sae, 1).W_dec, other.W_dec)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"pool": "median"}, "pool is one of"),
        ({"tokens": "last:0"}, "last:N"),
        ({"template": "tokenizer"}, "no chat template"),
        ({"template": "{role}"}, "exactly once"),
        ({"max_length": 10**6}, "takes 2 to 64"),
        ({"keep": "middle"}, "'start' or 'end'"),
        ({"top": 0}, "top is a whole number"),
        ({"layers": 3}, "no option 'layers'"),
    ],
)
def test_wrong_options_are_refused_before_the_model_runs(model, sae, samples, options, match):
    with pytest.raises(InvalidInput, match=match):
        encode_pool(samples, model, sae, **options)
