"""What is written opens in a browser as it should: silent, alone, at the width of a phone, and on paper."""

import re

import pytest

PHONE = 375
PAPER = 718
"""Width of A4 less the margins of the browser, in CSS pixels."""

OPEN_ALL = "for (const d of document.querySelectorAll('details')) d.open = true"
WIDER = """[...document.querySelectorAll('body *')]
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.scroll, .paper, .skip'))
  .map(e => e.tagName + ' ' + e.textContent.trim().slice(0, 40))"""
CUT = """[...document.querySelectorAll('body *')]
  .filter(e => getComputedStyle(e).overflowX !== 'visible' && e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 1)
  .map(e => e.className + ' ' + e.textContent.trim().slice(0, 40))"""
SPLIT_NUMBERS = """[...document.querySelectorAll('tbody td.num:not(.why), .pairs dd')].filter(cell => {
  if (cell.children.length || cell.textContent.trim().length > 12) return false;
  const range = document.createRange();
  range.selectNodeContents(cell);
  return new Set([...range.getClientRects()].map(r => Math.round(r.top))).size > 1;
}).map(cell => cell.textContent)"""

ENLARGED = """[...document.querySelectorAll('img[width]')]
  .filter(i => i.getBoundingClientRect().width > Number(i.getAttribute('width')) + 1).map(i => i.alt)"""


def test_it_complains_of_nothing_and_asks_nobody(chrome, page):
    for width in (PHONE, 1280):
        chrome.load(page, width=width)
        chrome.run(OPEN_ALL)
        assert chrome.complaints() == []
        assert chrome.requests() == []


def test_it_fits_a_phone(chrome, page):
    chrome.load(page, width=PHONE, mobile=True)
    chrome.run(OPEN_ALL)
    assert chrome.run("innerWidth") == PHONE
    assert chrome.run("document.scrollingElement.scrollWidth") == PHONE
    assert chrome.run(WIDER) == []


def test_nothing_is_cut_on_paper(chrome, page):
    chrome.load(page, width=PAPER)
    chrome.send("Emulation.setEmulatedMedia", media="print")
    try:
        chrome.run("dispatchEvent(new Event('beforeprint'))")
        assert chrome.run("document.scrollingElement.scrollWidth") == PAPER
        assert chrome.run(CUT) == []
        assert chrome.run(SPLIT_NUMBERS) == []
        assert chrome.run(ENLARGED) == []
    finally:
        chrome.send("Emulation.setEmulatedMedia", media="")


def test_it_prints(chrome, page, tmp_path):
    chrome.load(page)
    pdf = chrome.pdf(tmp_path / "page.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-")
    assert len(re.findall(rb"/Type\s*/Page\b", pdf)) >= 2


def test_what_is_missing_is_not_written_as_nan(chrome, page):
    chrome.load(page)
    chrome.run(OPEN_ALL)
    text = chrome.run("document.body.innerText")
    assert re.findall(r".{0,40}\b(?:nan|NaN|undefined|inf)\b.{0,20}", text) == []


def test_every_picture_is_drawn_and_described(chrome, page):
    chrome.load(page)
    pictures = chrome.run("[...document.images].map(i => [i.complete && i.naturalWidth > 0, i.alt.length > 10])")
    assert all(drawn and described for drawn, described in pictures)


def test_every_link_inside_leads_somewhere(chrome, page):
    chrome.load(page)
    lost = chrome.run(
        "[...document.querySelectorAll('a[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
        ".filter(id => !document.getElementById(id))"
    )
    assert lost == []


def test_links_to_dashboards_lead_to_files_that_are_there(chrome, report):
    chrome.load(report)
    links = chrome.run("[...document.querySelectorAll('ul.links a')].map(a => a.getAttribute('href'))")
    assert links
    for link in links:
        name, _, latent = link.partition("#")
        assert f'id="{latent}"' in (report.parent / name).read_text()


def test_a_click_on_a_column_sorts_it(chrome, report):
    chrome.load(report)
    first = (
        "(() => { const t = document.querySelector('main table'), h = [...t.tHead.rows[0].cells];"
        "const i = h.findIndex(c => c.classList.contains('num'));"
        "h[i].querySelector('button').click();"
        "return [...t.tBodies[0].rows].map(r => r.cells[i]).filter(c => !c.classList.contains('why'))"
        ".map(c => Number((c.title || c.textContent).replace(/,/g, '').replace('\\u2212', '-')))"
        ".filter(x => !Number.isNaN(x)) })()"
    )
    values = chrome.run(first)
    assert values == sorted(values, reverse=True)
    assert len(values) > 2


def test_the_checks_see_what_is_wrong(chrome, tmp_path):
    """A page with every fault: each check has to find its own."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!doctype html><meta name=viewport content='width=device-width'><body style='margin:0'>"
        "<img src='http://example.invalid/x.png'><div style='width:900px'>wide</div>"
        "<div class=box style='width:100px;overflow:hidden'><div style='width:300px'>cut</div></div>"
        "<table><tbody><tr><td class=num style='width:1em;display:block;word-break:break-all'>123456</td></tr></table>"
        "<script>console.error('no')</script><script>throw new Error('thrown')</script>"
    )
    chrome.load(bad, width=PHONE)
    said = " ".join(chrome.complaints())
    assert "no" in said
    assert "Uncaught" in said
    assert chrome.requests() == ["http://example.invalid/x.png"]
    assert chrome.run("document.scrollingElement.scrollWidth") == 900
    assert any("wide" in text for text in chrome.run(WIDER))
    assert any("cut" in text for text in chrome.run(CUT))
    assert chrome.run(SPLIT_NUMBERS) == ["123456"]


@pytest.mark.parametrize("width", [PHONE, 1280])
def test_text_has_contrast(chrome, report, width):
    """WCAG AA: 4.5 to 1 for text, in light and in dark."""
    for scheme in ("light", "dark"):
        chrome.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        chrome.load(report, width=width)
        weak = chrome.run(_CONTRAST)
        assert weak == [], f"{scheme}: {weak[:5]}"
    chrome.send("Emulation.setEmulatedMedia", features=[])


_CONTRAST = """(() => {
  const parse = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const behind = e => { for (; e; e = e.parentElement) { const c = parse(getComputedStyle(e).backgroundColor);
    if (c.length < 4 || c[3] === 1) return c; } return [255, 255, 255]; };
  const found = new Set();
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim())) continue;
    if (!e.checkVisibility()) continue;
    const [a, b] = [light(parse(getComputedStyle(e).color)), light(behind(e))].sort((x, y) => y - x);
    if ((a + .05) / (b + .05) < 4.5) found.add(e.tagName + '.' + e.className + ' ' + e.textContent.trim().slice(0, 30));
  }
  return [...found];
})()"""
