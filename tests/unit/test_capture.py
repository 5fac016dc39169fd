"""What capture returns equals what the model holds, whatever the batch, the padding and the pool."""

import numpy as np
import pytest
import torch

from interp.batches import plan_batches
from interp.capture_store import capture_to_store
from interp.capturing import capture, hooked, site_batches, stream, token_batches
from interp.errors import HookNotFired, InvalidInput, NonFinite, ResourceExhausted, UnknownSite
from interp.models import hook_name, hook_point
from interp.sites import Site
from interp.store import Store
from interp.testing import tiny_model, tiny_tokenizer
from interp.tokens import encode, tokenize

WORDS = ["Paris", " is", " in", " the city", " of Zürich", " 東京", " and", " x", "?"]
MODEL = tiny_model()
SITES = [site for site in MODEL.shapes if not site.startswith("pattern")]


def _texts(n, seed=0):
    rng = np.random.default_rng(seed)
    return ["".join(rng.choice(WORDS, size=rng.integers(1, 10))) for _ in range(n)]


def _hooks(model):
    return sum(len(point.fwd_hooks) + len(point._forward_hooks) for point in model.bridge.hook_dict.values())


def _flat(tensor, site):
    return tensor.flatten(2) if tensor.ndim == 4 and not site.startswith("pattern") else tensor


@pytest.mark.parametrize("architecture", ["llama", "gpt2", "gpt_neox", "gemma2", "opt", "bloom"])
def test_every_site_equals_run_with_cache(architecture):
    model = tiny_model(1, architecture)
    text = "Paris is in the city of Zürich"
    acts = capture(model, [text], list(model.shapes), pool="none", include_special=True)
    ids = torch.from_numpy(tokenize(model, [text]).ids)
    _, cache = model.bridge.run_with_cache(ids)
    for site in model.shapes:
        expected = _flat(cache[hook_name(site)], site)[0].detach().numpy()
        given = acts[site][0] if site.startswith("pattern") else acts[site]
        np.testing.assert_allclose(given, expected, rtol=1e-5, atol=1e-5, err_msg=site)


@pytest.mark.parametrize("bos", ["always", "never"])
@pytest.mark.parametrize("pool", ["last", "mean", "max"])
def test_batch_of_one_equals_a_ragged_batch_of_32(bos, pool):
    texts = _texts(32)
    together = capture(MODEL, texts, SITES, pool=pool, bos=bos, batch_tokens=10**6)
    alone = [capture(MODEL, [text], SITES, pool=pool, bos=bos) for text in texts]
    for site in SITES:
        np.testing.assert_allclose(together[site], np.concatenate([a[site] for a in alone]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("architecture", ["gpt2", "gpt_neox", "mistral", "gemma3", "opt", "bloom"])
def test_batch_and_order_do_not_matter_in_other_architectures(architecture):
    model, texts = tiny_model(0, architecture), _texts(40)
    expected = capture(model, texts, "resid_post.1", pool="mean", batch_tokens=10**6)["resid_post.1"]
    order = np.random.default_rng(1).permutation(40)
    mixed = capture(model, [texts[i] for i in order], "resid_post.1", pool="mean", batch_tokens=50)["resid_post.1"]
    np.testing.assert_allclose(mixed, expected[order], rtol=0, atol=1e-5)


def test_left_padding_tokenizer_keeps_activations():
    texts = _texts(16)
    left = tiny_model(tokenizer=tiny_tokenizer("bos_eos_left"))
    np.testing.assert_array_equal(
        capture(left, texts, "resid_post.1")["resid_post.1"], capture(MODEL, texts, "resid_post.1")["resid_post.1"]
    )


def test_pools_are_those_of_numpy_over_the_tokens_of_each_text():
    texts = _texts(12)
    tokens = capture(MODEL, texts, SITES, pool="none").per_text
    for pool, rule in (("last", lambda t: t[-1]), ("mean", lambda t: t.mean(0)), ("max", lambda t: t.max(0))):
        acts = capture(MODEL, texts, SITES, pool=pool)
        for site in SITES:
            expected = np.stack([rule(rows) for rows in tokens(site)])
            np.testing.assert_allclose(acts[site], expected, rtol=0, atol=1e-5, err_msg=f"{pool} {site}")


def test_specials_enter_a_pool_only_when_asked():
    texts = _texts(5)
    encoded = encode(MODEL, texts, bos="always")
    without = capture(MODEL, texts, "resid_post.0", pool="none")
    with_bos = capture(MODEL, texts, "resid_post.0", pool="none", include_special=True)
    assert without.tokens_per_text.tolist() == (encoded.lengths - 1).tolist()
    assert with_bos.tokens_per_text.tolist() == encoded.lengths.tolist()
    for text, both in zip(without.per_text("resid_post.0"), with_bos.per_text("resid_post.0"), strict=True):
        np.testing.assert_allclose(text, both[1:], rtol=0, atol=1e-6)


def test_last_token_is_not_the_eos_of_the_tokenizer():
    model = tiny_model(tokenizer=tiny_tokenizer("bos_eos_left"))
    np.testing.assert_allclose(
        capture(model, ["Paris is"], "resid_post.1", bos="tokenizer")["resid_post.1"],
        capture(model, ["Paris is"], "resid_post.1", bos="always")["resid_post.1"],
        rtol=0,
        atol=1e-5,
    )


def test_span_pool_is_the_mean_over_the_tokens_of_the_name():
    text = "in Zürich is"
    acts = capture(MODEL, [text], "mlp_post.1", pool="span", spans=[(3, 9)])
    everything = capture(MODEL, [text], "mlp_post.1", pool="none")["mlp_post.1"]
    inside = tokenize(MODEL, [text], spans=[(3, 9)]).span_mask[0][1:]
    assert 1 < inside.sum() < len(inside)
    np.testing.assert_allclose(acts["mlp_post.1"][0], everything[inside].mean(0), rtol=0, atol=1e-5)
    assert acts.tokens_per_text.tolist() == [inside.sum()]
    last = capture(MODEL, [text], "mlp_post.1", pool="last", spans=[(3, 9)])["mlp_post.1"][0]
    np.testing.assert_allclose(last, everything[inside][-1], rtol=0, atol=1e-5)


def test_heads_are_flattened_head_major_and_can_be_asked_one_by_one():
    texts = _texts(6)
    acts = capture(MODEL, texts, ["z.1", "z.1.h2", "k.0", "k.0.h1", "q.0.h3", "q.0"])
    np.testing.assert_array_equal(acts["z.1"][:, 16:24], acts["z.1.h2"])
    np.testing.assert_array_equal(acts["k.0"][:, 8:16], acts["k.0.h1"])
    np.testing.assert_array_equal(acts["q.0"][:, 24:32], acts["q.0.h3"])
    assert acts["k.0"].shape == (6, 16)  # two key heads shared by four query heads


def test_pattern_is_square_without_padding_and_its_rows_sum_to_one():
    texts = _texts(9)
    acts = capture(MODEL, texts, ["pattern.1", "pattern.1.h2"], pool="none", include_special=True)
    for text, pattern, head, n in zip(
        texts, acts["pattern.1"], acts["pattern.1.h2"], acts.tokens_per_text, strict=True
    ):
        assert pattern.shape == (4, n, n), text
        np.testing.assert_allclose(pattern.sum(-1), 1, rtol=0, atol=1e-5)
        np.testing.assert_array_equal(pattern[2], head)


@pytest.mark.parametrize("options", [{}, {"pool": "none"}, {"pool": "mean", "include_special": True}])
def test_pattern_is_refused_where_it_would_be_pooled_or_lose_bos(options):
    with pytest.raises(InvalidInput, match="include_special=True"):
        capture(MODEL, ["Paris"], "pattern.0", **options)


def test_activations_keep_what_they_were_made_from():
    acts = capture(MODEL, _texts(3), "resid_post.0")
    about = acts.provenance
    assert about["fingerprint"] == MODEL.fingerprint
    assert (about["bos"], about["pool"], about["sites"], about["n_texts"]) == ("always", "last", ["resid_post.0"], 3)
    assert capture(MODEL, _texts(3, seed=1), "resid_post.0").provenance["texts_sha256"] != about["texts_sha256"]
    assert acts.sites == (Site("resid_post", 0),)
    assert len(acts) == 3
    with pytest.raises(UnknownSite, match="was not captured"):
        acts["resid_post.1"]
    with pytest.raises(InvalidInput, match="are pooled"):
        acts.per_text("resid_post.0")


@pytest.mark.parametrize("site", ["resid_post.2", "z.0.h4", "k.1.h2", "mlp_past.0", "blocks.0.hook_resid_post"])
def test_unknown_site_raises_before_anything_runs(site, monkeypatch):
    monkeypatch.setattr(type(MODEL), "run", None)
    with pytest.raises(UnknownSite):
        capture(MODEL, ["Paris"], ["resid_post.0", site])


@pytest.mark.parametrize("site", [*SITES, "pattern.0", "z.1.h1"])
def test_exception_in_a_hook_leaves_no_hook_and_no_changed_weight(site):
    n_hooks, fingerprint = _hooks(MODEL), MODEL.fingerprint
    expected = MODEL.logits(torch.arange(6)[None])

    def fail(_tensor):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), hooked(MODEL, {"embed": lambda _: None, site: fail}):
        MODEL.logits(torch.arange(6)[None])
    assert _hooks(MODEL) == n_hooks
    assert MODEL.fingerprint == fingerprint
    assert torch.equal(MODEL.logits(torch.arange(6)[None]), expected)


def test_hooks_of_the_user_survive_a_capture():
    model, seen = tiny_model(), []
    hook_point(model, "resid_post.0").add_hook(lambda tensor, hook: seen.append(tuple(tensor.shape)))
    n_hooks = _hooks(model)
    capture(model, ["Paris"], "resid_post.0")
    assert len(seen) == 1
    assert _hooks(model) == n_hooks > 0
    capture(model, ["Paris"], "resid_post.0")
    assert len(seen) == 2


def test_capture_runs_no_block_below_the_deepest_site():
    model, seen = tiny_model(n_layers=3), []
    hook_point(model, "resid_pre.2").add_hook(lambda tensor, hook: seen.append(1))
    capture(model, ["Paris"], ["resid_post.1", "z.0"])
    assert not seen
    capture(model, ["Paris"], ["resid_post.2"])
    assert seen


def test_hook_that_never_fires_is_named():
    model = tiny_model()
    model.shapes["attn_out.7"] = (8, 32)  # a site that the model claims and never computes
    silent = model._points["attn_out.7"] = type(hook_point(model, "resid_post.0"))()
    with pytest.raises(HookNotFired, match=r"attn_out\.7 fired 0 times"):
        capture(model, ["Paris"], ["resid_post.0", "attn_out.7"])
    assert not silent.fwd_hooks


def test_hook_that_fires_twice_is_named(monkeypatch):
    model = tiny_model()
    run = model.run

    def twice(ids, mask):
        with torch.no_grad():
            model.bridge.original_model.base_model.embed_tokens(ids)
        run(ids, mask)

    monkeypatch.setattr(model, "run", twice)
    with pytest.raises(HookNotFired, match="embed fired 2 times"):
        capture(model, ["Paris"], ["embed", "resid_post.0"])


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("site", [*SITES, "pattern.1"])
@pytest.mark.parametrize("pool", ["last", "none"])
def test_non_finite_value_is_named_with_site_text_and_token(site, value, pool):
    texts = ["Paris is in the city", "x", "Paris is in"]

    def poison(tensor):
        if tensor.shape[0] != 3:
            return None
        tensor = tensor.clone()
        # longest first: the rows of the batch are the texts 0, 2, 1
        index = (1, slice(None), 2) if site.startswith("pattern") else (1, 2)
        tensor[index] = value
        return tensor

    options = {"include_special": True, "pool": "none"} if site.startswith("pattern") else {"pool": pool}
    with hooked(MODEL, {site: poison}), pytest.raises(NonFinite, match=rf"{site} is NaN.* token 2 .*text 2 in"):
        capture(MODEL, texts, site, **options)


def test_non_finite_padding_does_not_reach_a_mean():
    texts = ["Paris is in the city", "x"]
    clean = capture(MODEL, texts, "resid_post.1", pool="mean")["resid_post.1"]

    def poison(tensor):
        tensor = tensor.clone()
        tensor[1, 4:] = float("nan")
        return tensor

    with hooked(MODEL, {"resid_post.1": poison}):
        given = capture(MODEL, texts, "resid_post.1", pool="mean")["resid_post.1"]
    np.testing.assert_allclose(given, clean, rtol=0, atol=1e-6)


def test_edit_of_one_head_leaves_the_others_bit_identical():
    ids = torch.from_numpy(tokenize(MODEL, ["Paris is in Zürich"]).ids)
    before, after = {}, {}
    with hooked(MODEL, {"z.0": lambda t: before.update(z=t.clone())}):
        MODEL.logits(ids)
    with hooked(MODEL, {"z.0.h2": torch.zeros_like, "z.0": lambda t: after.update(z=t.clone())}):
        edited = MODEL.logits(ids)
    others = [i for i in range(32) if not 16 <= i < 24]
    assert torch.equal(after["z"][..., others], before["z"][..., others])
    assert not after["z"][..., 16:24].any()
    assert not torch.equal(edited, MODEL.logits(ids))


@pytest.mark.parametrize("site", [*SITES, "pattern.0", "pattern.0.h1", "z.1.h3", "k.0.h1"])
def test_putting_back_the_same_values_changes_no_logit(site):
    ids = torch.from_numpy(tokenize(MODEL, ["Paris is in Zürich"]).ids)
    expected = MODEL.logits(ids)
    with hooked(MODEL, {site: torch.clone}):
        assert torch.equal(MODEL.logits(ids), expected)


def test_edit_of_another_shape_is_refused():
    with pytest.raises(InvalidInput, match=r"returned \[1, 3, 8\] for"), hooked(MODEL, {"z.0": lambda t: t[..., :8]}):
        MODEL.logits(torch.arange(3)[None])


def test_result_that_is_too_large_is_refused_before_the_model_runs(monkeypatch):
    monkeypatch.setattr(type(MODEL), "run", None)
    n = int(encode(MODEL, ["Paris is"], bos="never").lengths[0])
    with pytest.raises(ResourceExhausted, match=rf"{n * 32 * 4} bytes and max_bytes is {n * 32 * 4 - 1}"):
        capture(MODEL, ["Paris is"], "resid_post.0", pool="none", bos="never", max_bytes=n * 32 * 4 - 1)


def test_stream_gives_every_text_once_and_the_same_values():
    texts = _texts(30)
    expected = capture(MODEL, texts, "resid_post.1", pool="mean")["resid_post.1"]
    batches = list(stream(MODEL, texts, "resid_post.1", pool="mean", batch_tokens=100))
    assert len(batches) > 3
    rows = np.concatenate([b.rows for b in batches])
    assert sorted(rows) == list(range(30))
    given = torch.cat([b.values["resid_post.1"] for b in batches]).numpy()
    np.testing.assert_allclose(given, expected[rows], rtol=0, atol=1e-5)


def test_batches_stay_under_the_token_budget_unless_one_text_is_longer():
    lengths = np.array([3, 50, 7, 7, 200, 1, 9])
    batches = plan_batches(lengths, 60)
    assert sorted(np.concatenate(batches)) == list(range(7))
    assert all(len(b) == 1 or len(b) * lengths[b].max() <= 60 for b in batches)
    assert batches[0].tolist() == [4]


def test_token_batches_of_texts_are_the_tokens_of_capture():
    texts = _texts(25)
    given = torch.cat(list(token_batches(MODEL, iter(texts), "resid_post.1", batch_tokens=10**6)))
    expected = capture(MODEL, texts, "resid_post.1", pool="none")["resid_post.1"]
    assert given.dtype == torch.float32
    np.testing.assert_allclose(np.sort(given.numpy(), axis=0), np.sort(expected, axis=0), rtol=0, atol=1e-5)


def test_packed_rows_lose_their_specials_wherever_they_stand():
    row = np.array([0, 50, 60, 1, 0, 70, 80])
    (given,) = token_batches(MODEL, [row], "resid_post.1")
    (everything,) = token_batches(MODEL, [row], "resid_post.1", include_special=True)
    assert torch.equal(given, everything[[1, 2, 5, 6]])


def test_token_batches_go_on_from_a_batch_number():
    rows = [np.arange(10, 30) + i for i in range(20)]
    rows[3:6] = [np.zeros(20, dtype=int)] * 3  # specials alone: these make no batch, and count for none
    everything = list(token_batches(MODEL, rows, "z.0", batch_tokens=60))
    later = list(token_batches(MODEL, rows, "z.0", batch_tokens=60, start=4))
    assert len(everything) == 6
    assert all(torch.equal(a, b) for a, b in zip(everything[4:], later, strict=True))


def test_sites_read_together_are_those_read_alone():
    texts, sites = _texts(25), ["resid_post.1", "z.0", "mlp_out.0"]
    together = list(site_batches(MODEL, texts, sites, batch_tokens=60, start=1))
    for site in sites:
        alone = list(token_batches(MODEL, texts, site, batch_tokens=60, start=1))
        assert len(alone) == len(together) > 2
        assert all(torch.equal(a, b[site]) for a, b in zip(alone, together, strict=True))


@pytest.mark.parametrize("row", [np.arange(100), np.array([[1, 2]]), np.array([1.5]), np.array([-1]), np.array([9999])])
def test_malformed_rows_are_refused(row):
    with pytest.raises(InvalidInput):
        list(token_batches(MODEL, [row], "resid_post.0"))


def test_tokenizer_of_another_model_is_refused():
    model = tiny_model(tokenizer=tiny_tokenizer(words=["Par"]))
    model.tokenizer = tiny_tokenizer()
    with pytest.raises(InvalidInput, match="tokenizer of another model"):
        capture(model, ["the city of France"], "resid_post.0")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pool": "median"}, "pool='median'; nearest"),
        ({"pool": "span"}, "needs spans"),
        ({"dtype": "int8"}, "dtype='int8'"),
        ({"batch_tokens": 0}, "batch_tokens"),
        ({"sites": []}, "no sites"),
        ({"bos": "perhaps"}, "bos is one of"),
        ({"max_length": 1}, "no token but special|no token to pool"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(InvalidInput, match=message):
        capture(MODEL, ["Paris"], **{"sites": "resid_post.0", **options})


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_result_has_the_dtype_that_was_asked_for(dtype):
    assert capture(MODEL, ["Paris"], "resid_post.0", dtype=dtype)["resid_post.0"].dtype == dtype


def test_value_too_large_for_float16_is_refused_and_not_made_infinite():
    with (
        hooked(MODEL, {"resid_post.0": lambda t: t * 1e6}),
        pytest.raises(InvalidInput, match="beyond float16"),
    ):
        capture(MODEL, ["Paris"], "resid_post.0", dtype="float16")


def test_capture_does_not_move_the_random_state_of_the_caller():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    capture(MODEL, _texts(4), "resid_post.1")
    assert torch.equal(torch.get_rng_state(), before)


def test_capture_to_a_store_equals_capture_in_memory(tmp_path):
    texts = _texts(20)
    for pool in ("mean", "none"):
        expected = capture(MODEL, texts, ["resid_post.1", "z.0"], pool=pool)
        with Store(tmp_path / pool) as store:
            acts = capture(MODEL, texts, ["resid_post.1", "z.0"], pool=pool, to=store)
            for site in ("resid_post.1", "z.0"):
                np.testing.assert_allclose(acts[site], expected[site], rtol=0, atol=1e-6)
            assert acts.tokens_per_text.tolist() == expected.tokens_per_text.tolist()


def _small_shards(monkeypatch):
    monkeypatch.setattr(capture_to_store, "__kwdefaults__", {"shard_values": 5 * 32, "progress": False})


def test_capture_to_a_store_resumes_and_redoes_only_what_changed(tmp_path, monkeypatch):
    _small_shards(monkeypatch)
    texts, runs = _texts(20), []
    run = type(MODEL).run
    monkeypatch.setattr(type(MODEL), "run", lambda self, ids, mask: (runs.append(len(ids)), run(self, ids, mask)))
    with Store(tmp_path) as store:
        first = capture(MODEL, texts, "resid_post.1", to=store)["resid_post.1"]
        assert sum(runs) == 20
        assert len(store.names("arrays")) == 4
        runs.clear()
        np.testing.assert_array_equal(capture(MODEL, texts, "resid_post.1", to=store)["resid_post.1"], first)
        assert not runs
        changed = [*texts[:7], "x and x", *texts[8:]]
        again = capture(MODEL, changed, "resid_post.1", to=store)["resid_post.1"]
        assert sum(runs) == 5
    assert np.flatnonzero((again != first).any(1)).tolist() == [7]


def test_non_finite_value_in_a_later_shard_has_the_number_of_its_text(tmp_path, monkeypatch):
    _small_shards(monkeypatch)
    texts = ["Paris is"] * 12
    count = []

    def poison(tensor):
        count.append(1)
        return tensor * float("nan") if len(count) == 3 else None

    with (
        Store(tmp_path) as store,
        hooked(MODEL, {"resid_post.1": poison}),
        pytest.raises(NonFinite, match="text 10 in"),
    ):
        capture(MODEL, texts, "resid_post.1", to=store)


def test_pattern_is_not_written_to_a_store(tmp_path):
    with Store(tmp_path) as store, pytest.raises(InvalidInput, match="not written to a store"):
        capture(MODEL, ["Paris"], "pattern.0", pool="none", include_special=True, to=store)
