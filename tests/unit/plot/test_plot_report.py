import base64
import dataclasses
import re
import shutil
import subprocess
from html.parser import HTMLParser
from importlib.resources import files

import numpy as np
import pandas as pd
import pytest

from interp.errors import InvalidInput
from interp.plot.report import Headline, Passage, ReportFigure, Section, render_report, report_figure
from interp.plot.style import figure, figure_bytes
from interp.plot.tables import html_table

BAD = "<script>alert(1)</script>"
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Collects what the tests ask about, and checks that every element is closed in order."""

    def __init__(self, html):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        names = [name for name, _ in attrs]
        assert len(set(names)) == len(names), (tag, names)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def small_figure():
    fig = figure("single", 30)
    fig.axes[0].plot([0, 1])
    return fig


def make_section(**changes):
    section = Section(
        id="geospatial",
        title="Is geography laid out?",
        question="Do latents vary smoothly over the map?",
        headline=Headline("31 of 512 latents", "Shuffled places: 0 of 512", p=0.0002, q=0.004, n=5000),
        figures=[
            ReportFigure(
                figure_bytes(small_figure(), "svg"), "A rising line.", "The line.", pd.DataFrame({"x": [0, 1]})
            )
        ],
        tables={"All latents": pd.DataFrame({"feature": [1, 2], "p": [0.01, np.nan], "status": ["ok", "too_rare"]})},
        methods=["Moran's I with 8 neighbours."],
        limits=["Towns only."],
    )
    return dataclasses.replace(section, **changes)


def render(*sections, provenance=None, **options):
    return render_report(
        "Report", sections or [make_section()], provenance or {"key": "9f2c", "seed": 12345678}, **options
    )


def test_page_is_well_formed_with_unique_ids():
    ids = [a["id"] for _, a in Page(render(make_section(), make_section(id="probing"))).elements if "id" in a]
    assert len(ids) > 8
    assert len(set(ids)) == len(ids)


def test_every_anchor_leads_somewhere_in_the_page_or_is_data():
    page = Page(render())
    ids = {a["id"] for _, a in page.elements if "id" in a}
    for anchor in page.all("a"):
        assert anchor["href"].startswith("data:") or anchor["href"][1:] in ids, anchor["href"][:40]


def test_every_image_has_its_alt_text_and_size():
    images = Page(render()).all("img")
    assert [image["alt"] for image in images] == ["A rising line."]
    assert int(images[0]["width"]) == pytest.approx(89 / 25.4 * 96 * 1.6, abs=1)


def test_nothing_outside_the_page_is_referred_to():
    html = render()
    assert not re.search(r"https?://|//cdn|@import|url\(", html)
    for tag, attributes in Page(html).elements:
        for name in ("src", "href", "srcset", "action", "data", "poster"):
            value = attributes.get(name, "#")
            assert value.startswith(("#", "data:")), (tag, name, value[:40])


def test_policy_allows_only_the_script_and_style_of_the_page():
    import hashlib

    page = render()
    policy = Page(page).all("meta")[1]["content"]
    for tag in ("script", "style"):
        inner = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.S)[1]
        digest = base64.b64encode(hashlib.sha256(inner.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy


def test_no_element_carries_a_style_or_a_handler_that_the_policy_would_block():
    for _, attributes in Page(render()).elements:
        assert not [name for name in attributes if name == "style" or name.startswith("on")]


def test_hostile_names_are_shown_and_not_run():
    frame = pd.DataFrame({"name": [BAD], BAD: [BAD], "status": [BAD]})
    hostile = make_section(
        title=BAD, question=BAD, headline=Headline(BAD, BAD), tables={BAD: frame}, methods=BAD, limits=[BAD],
        figures=[ReportFigure(figure_bytes(small_figure(), "png"), BAD + '"', BAD, frame)],
    )  # fmt: skip
    html = render_report(BAD, [hostile], {BAD: {BAD: [BAD]}}, summary=BAD)
    page = Page(html)
    assert len(page.all("script")) == 1
    assert "<script>alert" not in html
    assert BAD in page.text


def test_tokens_are_marked_by_strength_and_escaped():
    tokens = [("plain ", 0, ""), ("<b>hot</b>", 4, 'feature 3: "7"'), (" warm", 1, "feature 5: 0.1")]
    page = render(make_section(passages=[Passage("sample 1", tokens)]))
    assert '<mark class="m4" title="feature 3: &#34;7&#34;">&lt;b&gt;hot&lt;/b&gt;</mark>' in page
    assert 'plain <mark class="m4"' in page
    assert page.count("<mark ") == 2
    assert "<b>hot" not in page
    with pytest.raises(InvalidInput, match="0 to 4, not 5"):
        Passage("sample 1", [("x", 5, "")])


def test_a_download_name_or_id_cannot_be_hostile():
    with pytest.raises(InvalidInput, match="section id"):
        render(make_section(id='x" onclick="alert(1)'))


def test_headline_stands_beside_its_null_with_p_q_and_n():
    html = render()
    answer, null = re.findall(r"<dd>(.*?)</dd>", html, re.S)[:2]
    assert "31 of 512 latents" in answer
    assert "p &lt;.001, q = .004, n = 5,000" in answer
    assert null == "Shuffled places: 0 of 512"


def test_missing_p_shows_its_reason_and_the_page_explains_it():
    page = Page(render())
    assert "too rare" in page.text
    assert "active in too few places for a trustworthy null" in page.text


def test_statuses_are_counted_over_the_whole_table_not_the_rows_shown():
    frame = pd.DataFrame({"feature": range(900), "status": ["ok"] * 800 + ["dead"] * 100})
    assert "ok 800, dead 100" in render(make_section(tables={"t": frame}))


def test_methods_limits_and_summary_are_read_as_one_text_or_several():
    html = render(make_section(methods="One text.", limits=("First.", "Second.")), summary="In short.")
    assert "<p>One text.</p>" in html
    assert html.count("<li>First.</li>") == html.count("<li>Second.</li>") == 1
    assert '<p class="summary">In short.</p>' in html


def test_provenance_is_written_exactly():
    provenance = {
        "seed": 12345678,
        "config": {"lr": 0.1 + 0.2, "k": 8},
        "inputs": [{"sha256": "ab" * 32}],
        "note": None,
    }
    text = Page(render(provenance=provenance)).text
    joined = "\n".join(t.strip() for t in text)
    for exact in ("12345678", "0.30000000000000004", "ab" * 32, "None"):
        assert exact in joined


def test_same_arguments_give_the_same_page():
    assert render() == render()


def test_large_tables_stay_under_five_megabytes_and_the_cut_is_stated():
    rng = np.random.default_rng(0)
    n = 60_000
    frame = pd.DataFrame({"feature": np.arange(n), **{f"x{i}": rng.random(n) for i in range(10)}})
    html = render(make_section(tables={"a": frame, "b": frame.head(20)}))
    assert len(html.encode()) < 5_000_000
    assert "First 50 of 60,000 rows." in html
    assert re.search(r"CSV, first [\d,]+ of 60,000 rows", html)
    assert "CSV, all 20 rows" in html


def test_figures_that_do_not_fit_are_replaced_by_their_words():
    heavy = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + (800).to_bytes(4, "big") * 2 + b"x" * 3_000_000
    light = figure_bytes(small_figure(), "png")
    section = make_section(
        figures=[ReportFigure(heavy, "A heavy map.", "Heavy."), ReportFigure(light, "Light.", "Light.")]
    )
    html = render(section)
    assert len(html.encode()) < 5_000_000
    assert [image["alt"] for image in Page(html).all("img")] == ["Light."]
    assert "It shows: A heavy map." in html


def test_text_above_the_limit_is_a_named_error():
    with pytest.raises(InvalidInput, match="Shorten"):
        render(provenance={"log": "x" * 5_000_000})


def test_a_page_without_tables_or_figures_is_whole():
    page = Page(render(make_section(tables={}, figures=[], methods=(), limits=())))
    assert "What the status of a test means" not in page.text


@pytest.mark.parametrize("taken", ["geospatial", "summary", "provenance", "main"])
def test_section_ids_are_unique(taken):
    sections = [make_section(), make_section(id=taken)]
    with pytest.raises(InvalidInput, match="section id"):
        render(*sections)


def test_a_figure_without_alt_text_is_refused():
    section = make_section(figures=[ReportFigure(figure_bytes(small_figure(), "png"), " ", "c")])
    with pytest.raises(InvalidInput, match="alt text"):
        render(section)


@pytest.mark.parametrize("image", [b"%PDF-1.4", b"", b"\x89PNG", b"<svg viewBox='0 0 1 1'></svg>"])
def test_bytes_that_are_no_usable_picture_are_refused(image):
    with pytest.raises(InvalidInput, match="figure"):
        render(make_section(figures=[ReportFigure(image, "alt", "c")]))


def test_report_figure_is_a_picture_smaller_than_its_vector_file():
    fig = small_figure()
    made = report_figure(fig, "alt", caption="c")
    assert made.image.startswith(b"\x89PNG")
    assert len(made.image) < len(figure_bytes(fig, "svg"))


def test_bundled_page_parts_hold_no_address():
    for name in ("report.css", "report.js", "report.html.j2"):
        text = files("interp").joinpath("assets", name).read_text(encoding="utf-8")
        assert not re.search(r"https?:|url\(|@import|fetch\(|XMLHttpRequest|eval\(", text)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
if CHROMIUM:  # collected only where there is a browser, so that nothing is skipped elsewhere

    def browse(path, tmp_path):
        options = [
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
            "--disable-background-networking", "--disable-component-update", f"--user-data-dir={tmp_path}/profile",
            "--enable-logging=stderr", "--dump-dom", f"file://{path}",
        ]  # fmt: skip
        return subprocess.run([str(CHROMIUM), *options], capture_output=True, text=True, timeout=120, check=True)

    def test_a_browser_runs_the_page_without_a_console_message(tmp_path):
        path = tmp_path / "report.html"
        path.write_text(render(), encoding="utf-8")
        result = browse(path, tmp_path)
        assert "CONSOLE" not in result.stderr
        assert result.stdout.count("<button") == 4  # the script ran: one button for each of the four headers

    def test_a_browser_sorts_by_exact_value_and_keeps_missing_ones_last(tmp_path):
        frame = pd.DataFrame({"f": list("abcd"), "p": [2e-5, np.nan, 1e-9, 0.4], "status": ["ok", "dead", "ok", "ok"]})
        script = files("interp").joinpath("assets", "report.js").read_text(encoding="utf-8")
        read = "Array.from(document.querySelectorAll('tbody tr'), (r) => r.cells[0].textContent).join('')"
        click = "document.querySelectorAll('thead button')[1].click();"
        path = tmp_path / "sort.html"
        path.write_text(
            f"<meta charset=utf-8><main>{html_table(frame, caption='c', table_id='t')}</main><p id=out></p>"
            f"<script>{script}</script><script>{click} const a = {read}; {click} "
            f"document.getElementById('out').textContent = a + ' ' + {read};</script>",
            encoding="utf-8",
        )
        assert '<p id="out">dacb cadb</p>' in browse(path, tmp_path).stdout
