"""The page: nothing of a token becomes an element, nothing comes from the network, the same bytes twice."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from dashboards_small import ALWAYS, DEAD, TEXTS, Page

from analyses.attention import decoder_head_share, direct_feature_attribution
from analyses.dashboards import dashboard_data, dashboard_page, feature_dashboard, save_dashboard
from analyses.dashboards.histograms import log_histogram
from analyses.dashboards.page import page_budget
from analyses.dashboards.visible import token_texts, visible
from interp.errors import InvalidInput
from interp.plot.numbers import format_number
from interp.testing import tiny_model

HOSTILE = [
    "</script><img src=x onerror=alert(1)>",
    '" onmouseover="alert(1)',
    "' style='position:fixed",
    "</style></title><script>alert(1)</script>",
    "--><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "\u202eevil\u202c\u2066",
    "\x00\x1b[31m\x7f",
    "&lt;b&gt;&#60;i>",
    "\ud800",
    "שלום",
    "\n\t  ",
    "",
]


ANY = 10**9


def shape(page):
    """The elements and the names of their attributes, in order."""
    return [(tag, sorted(attributes)) for tag, attributes in Page(page).elements]


@pytest.fixture(scope="module")
def word_page(word_data):
    return dashboard_page(word_data)


@pytest.fixture(scope="module")
def attention_data(planted, planted_rows):
    latents = planted.latents
    chosen = latents.groupby("family")["latent"].head(4).tolist()[:20]
    return dashboard_data(
        planted.sae, chosen, model=planted.model, texts=list(planted_rows), attribution=direct_feature_attribution,
        head_share=decoder_head_share(planted.sae),
    )  # fmt: skip


@pytest.fixture(scope="module")
def attention_page(attention_data):
    return dashboard_page(attention_data)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_token_becomes_an_element(word_data, hostile):
    benign = replace(word_data, names=dict.fromkeys(word_data.names, "x"))
    attacked = replace(word_data, names=dict.fromkeys(word_data.names, hostile))
    page = dashboard_page(attacked, title=hostile or "x", max_bytes=ANY)
    assert shape(page) == shape(dashboard_page(benign, title="x", max_bytes=ANY))
    page.encode()


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_source_token_becomes_an_element(attention_data, hostile):
    def with_sources(token):
        parts = [
            replace(part, sources={p: [s._replace(token=token) for s in found] for p, found in part.sources.items()})
            for part in attention_data.latents
        ]
        return dashboard_page(replace(attention_data, latents=parts[:3], notes=(token,)), max_bytes=ANY)

    assert shape(with_sources(hostile)) == shape(with_sources("x"))


def test_hostile_texts_come_through_the_tokenizer_unharmed(tiny, word_sae):
    texts = [f"{hostile} Paris" for hostile in HOSTILE if hostile.isprintable() or "\x00" in hostile]
    page = feature_dashboard(word_sae, [ALWAYS], model=tiny, texts=texts)
    tags = Counter(tag for tag, _ in Page(page).elements)
    assert not {"script", "img", "iframe", "object", "embed"} & set(tags)
    assert tags["svg"] == 2
    assert "\x00" not in page
    assert "␀" in page


def test_nothing_comes_from_the_network_and_nothing_runs(word_page, attention_page):
    for page in (word_page, attention_page):
        elements = Page(page).elements
        links = [value for _, a in elements for name, value in a.items() if name in ("src", "href", "action", "srcset")]
        assert {link[0] for link in links} <= {"#", "d"}
        assert [link for link in links if not link.startswith("#")] == ["data:,"]
        assert "url(" not in page
        assert "@import" not in page
        assert not [name for _, a in elements for name in a if name.startswith("on")]
        policy = next(a["content"] for tag, a in elements if a.get("http-equiv") == "Content-Security-Policy")
        assert policy.startswith("default-src 'none'")
        assert "script-src" not in policy


def test_every_link_has_its_place_and_ids_are_unique(word_page):
    elements = Page(word_page).elements
    ids = [a["id"] for _, a in elements if "id" in a]
    assert len(ids) == len(set(ids))
    assert {a["href"][1:] for tag, a in elements if tag == "a"} <= set(ids)
    assert {f"latent-{i}" for i in (0, 1, DEAD, ALWAYS, 8)} <= set(ids)


@pytest.mark.usefixtures("fixed_commit")
def test_the_same_call_gives_the_same_bytes(tiny, word_sae):
    def page(seed):
        return feature_dashboard(word_sae, [0, 8, ALWAYS], model=tiny, texts=TEXTS, seed=seed).split("<details>")[0]

    whole = [feature_dashboard(word_sae, [0, 8], model=tiny, texts=TEXTS, seed=1) for _ in range(2)]
    assert whole[0] == whole[1]
    assert page(1).replace("(seed 1)", "").split("<main>")[1] != page(2).replace("(seed 2)", "").split("<main>")[1]


def test_the_page_says_what_it_was_made_from(tiny, word_data, word_page):
    made_from = word_data.provenance
    assert made_from["inputs"]["model"] == tiny.fingerprint
    assert made_from["config"]["latents"] == [0, 1, DEAD, ALWAYS, 8]
    text = Page(word_page).text
    assert all(value in text for value in (made_from["key"], tiny.fingerprint, made_from["inputs"]["W_dec"]))


def section(page, latent):
    return page.split(f'<section id="latent-{latent}">')[1].split("</section>")[0]


def test_a_dead_latent_has_a_status_and_neither_histogram_nor_examples(word_page):
    dead = section(word_page, DEAD)
    assert '<span class="flag">dead</span>' in dead
    assert "Histogram of activations" not in dead
    assert 'class="ex"' not in dead
    assert "Histogram of logit weights" in dead
    alive = section(word_page, 0)
    assert "Histogram of activations" in alive
    assert "flag" not in alive
    assert '<span class="flag">dense</span>' in section(word_page, ALWAYS)


def test_a_planted_latent_marks_its_token_alone(word_page, word_ids):
    page = Page(section(word_page, 0))
    marks = [a for tag, a in page.elements if tag == "i"]
    assert marks
    assert all(a["title"].endswith(f"#{word_ids[0]}") for a in marks)
    assert {a["style"] for a in marks} == {"--a:1"}
    assert "␣Paris" in page.text


def test_its_numbers_are_those_of_numpy(word_page, dense_latents):
    text = " ".join(Page(section(word_page, 8)).text.split())
    column = dense_latents[:, 8]
    on = column[column > 0]
    counts, _ = np.histogram(on, 40, (0, on.max()))
    for expected in (
        f"{format_number(100 * len(on) / len(column))} %",
        f"{len(on):,} of {len(column):,} tokens",
        f"{format_number(on.max())} mean where on {format_number(on.mean())}",
        f"log count, largest bin {counts.max()}",
    ):
        assert expected in text
    top = float(Page(section(word_page, 8)).text.split("Strongest examples")[1].split("…")[0].split()[-1][:4])
    assert top == pytest.approx(on.max(), rel=0.05)


def test_a_histogram_draws_its_counts():
    counts = np.array([3, 0, 9])
    svg = str(log_histogram(counts, np.array([0.0, 1, 2, 3]), what="things"))
    tops = [float(part.split("h")[0]) for part in svg.split('d="')[1].split("z")[0].split("V")[1:-1]]
    np.testing.assert_allclose(60 - np.array(tops), 60 * np.log1p(counts) / np.log1p(9), atol=0.05)
    assert "of 12" in svg
    with pytest.raises(InvalidInput, match="4 edges"):
        log_histogram(counts, np.array([0.0, 1, 2]), what="things")


def test_attention_latents_say_from_where_they_read(attention_data, planted):
    found = {part.latent: part for part in attention_data.latents}
    induction = planted.latents[planted.latents["family"] == "induction"]["latent"]
    checked = 0
    for latent in induction:
        part = found.get(latent)
        if part is None or not len(part.top):
            continue
        word = planted.latents.set_index("latent").loc[latent, "word"]
        for position in part.top:
            sources = part.sources[int(position)]
            best = max(sources, key=lambda s: s.share)
            assert best.token == word
            assert best.share > 0.9
            assert best.head == planted.latents.set_index("latent").loc[latent, "head"]
            checked += 1
    assert checked >= 8


def test_the_attention_page_has_heads_sources_and_fits(attention_data, attention_page):
    assert len(attention_data.latents) == 20
    assert len(attention_page.encode()) < page_budget(20) == 300_000
    assert attention_page.count('<div class="heads">') == 20
    assert '<p class="dfa">' in attention_page
    assert "direct feature attribution" in attention_page


def test_attribution_that_does_not_exist_leaves_a_note(tiny, word_sae):
    page = feature_dashboard(word_sae, [0], model=tiny, texts=TEXTS, attribution=direct_feature_attribution)
    assert "No attribution by source token" in page
    assert '<p class="dfa">' not in page


def test_a_page_above_its_limit_shows_fewer_examples_and_says_so(word_data, word_page):
    small = dashboard_page(word_data, max_bytes=len(word_page.encode()) - 1)
    assert small.count("<p><b>") < word_page.count("<p><b>") or len(small) < len(word_page)
    smallest = dashboard_page(word_data, max_bytes=1)
    assert "at most 1 drawn" in smallest
    assert "at most 8 drawn" in word_page
    n_intervals = sum(len(part.intervals) for part in word_data.latents)
    assert smallest.count("<p><b>") == n_intervals + sum(len(part.top) for part in word_data.latents)
    for part in word_data.latents[-1:]:
        for interval in part.intervals:
            if interval.n > 1:
                assert f"1 of {interval.n:,}, each stands for {format_number(float(interval.n))}" in smallest


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (" Paris", "␣Paris"),
        ("a\nb\tc\rd", "a↵b⇥c␍d"),
        ("\x00\x1f\x7f", "␀␟⟨007F⟩"),
        ("\u202eab", "⟨202E⟩ab"),
        ("\u200b\u00a0\u2028", "⟨200B⟩⟨00A0⟩⟨2028⟩"),
        ("\ud800", "⟨D800⟩"),
        ("é漢", "é漢"),
    ],
)
def test_every_character_is_visible(text, shown):
    assert visible(text) == shown
    assert visible(text, spaces=False) == shown.replace("␣", " ")


def test_token_texts_are_what_the_tokenizer_decodes(tiny):
    ids = tiny.tokenizer.encode("Paris is é", add_special_tokens=False)
    found = token_texts(tiny, np.array([*ids, len(tiny.tokenizer) + 3]))
    assert found[len(tiny.tokenizer) + 3] == f"[{len(tiny.tokenizer) + 3}]"
    assert found[tiny.tokenizer.convert_tokens_to_ids("Ġis")] == " is"
    assert all(found[i] for i in ids)


def test_a_page_is_saved_whole_or_not_at_all(tmp_path, monkeypatch):
    path = save_dashboard("first", tmp_path / "page.html")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("interp.store.atomic.publish", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_dashboard("second", path)
    assert path.read_text() == "first"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_a_gpt2_model_has_a_page_too():
    from interp.sae import StandardSAE, topk_config

    model = tiny_model(seed=1, architecture="gpt2")
    config = topk_config(model.d_model, 6, k=1, site="mlp_out.1", model_name=model.name, bos="always",
                         model_fingerprint=model.fingerprint, decoder_norm="free").with_(
        architecture="standard", activation="relu", k=None)  # fmt: skip
    import torch

    rng = torch.Generator().manual_seed(0)
    W = torch.randn(model.d_model, 6, generator=rng)
    weights = {"W_enc": W, "b_enc": torch.zeros(6), "W_dec": W.T, "b_dec": torch.zeros(model.d_model)}
    page = feature_dashboard(StandardSAE(config, weights), [0, 5], model=model, texts=TEXTS[:9])
    assert "cosine of output weights" in page
    assert "Logit weights" in page
