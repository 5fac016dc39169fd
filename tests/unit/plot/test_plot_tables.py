import re

import numpy as np
import pandas as pd
import pytest

from interp.errors import InvalidInput
from interp.plot.budget import csv_links, fitting_figures, fitting_rows
from interp.plot.tables import html_table, status_counts


def render(frame, **options):
    return str(html_table(frame, caption="Tests", table_id="t", **options))


def cells(html):
    return re.findall(r"<t[dh](?: scope=\"row\")?([^>]*)>([^<]*)</t[dh]>", html.split("<tbody>")[1])


def test_missing_p_shows_the_reason_and_explains_it():
    html = render(pd.DataFrame({"feature": [3], "p": [np.nan], "status": ["constant"]}))
    attributes, text = cells(html)[1]
    assert text == "constant"
    assert "same everywhere" in attributes


def test_missing_p_of_a_row_that_claims_to_be_ok_is_not_hidden():
    html = render(pd.DataFrame({"feature": [3], "p": [np.nan], "status": ["ok"]}))
    assert cells(html)[1][1] == "–"
    assert "no reason was recorded" in cells(html)[1][0]


def test_small_p_is_short_and_exact_in_the_title():
    html = render(pd.DataFrame({"feature": [3], "p": [2.5e-9], "q_bh": [0.0234567], "status": ["ok"]}))
    assert [(a.strip(), t) for a, t in cells(html)[1:3]] == [
        ('class="num" title="2.5e-09"', "&lt;.001"),
        ('class="num" title="0.0234567"', ".023"),
    ]


def test_a_column_that_only_looks_like_p_holds_any_number():
    assert "12.0" in render(pd.DataFrame({"p_active": [12.0, 0.5]}))


@pytest.mark.parametrize("name", ["p", "q"])
def test_p_outside_its_range_is_refused(name):
    with pytest.raises(InvalidInput, match="no p-value"):
        render(pd.DataFrame({"feature": [1], name: [1.5]}))


def test_counts_are_grouped_and_identifiers_are_not():
    html = render(pd.DataFrame({"feature": [4312], "n": [20343], "seed": [123456]}))
    assert [t for _, t in cells(html)] == ["4312", "20,343", "123456"]


def test_hostile_text_is_escaped_in_cells_headers_caption_and_titles():
    bad = '<script>alert("1")</script>'
    frame = pd.DataFrame({bad: [bad], "p": [np.nan], "status": [bad]})
    html = str(html_table(frame, caption=bad, table_id="t"))
    assert "<script" not in html
    assert 'alert("' not in html


def test_rows_left_out_are_counted_in_the_caption():
    html = render(pd.DataFrame({"x": range(1200)}), max_rows=10)
    assert "First 10 of 1,200 rows" in html
    assert html.count("<tr>") == 11


def test_headers_have_scope_and_the_first_column_names_the_row():
    html = render(pd.DataFrame({"feature": [1, 2], "I": [0.1, 0.2]}))
    assert html.count('scope="col"') == 2
    assert html.count('scope="row"') == 2


def test_a_named_index_is_shown():
    frame = pd.DataFrame({"I": [0.1]}, index=pd.Index([7], name="feature"))
    assert [t for _, t in cells(render(frame))] == ["7", "0.100"]


def test_an_empty_table_is_a_table():
    html = render(pd.DataFrame({"feature": pd.Series([], dtype=int), "p": pd.Series([], dtype=float)}))
    assert "0 rows" in html


def test_the_frame_is_not_changed():
    frame = pd.DataFrame({"p": [0.5, np.nan], "status": ["ok", "dead"]})
    before = frame.copy(deep=True)
    render(frame)
    pd.testing.assert_frame_equal(frame, before)


def test_an_id_with_a_space_is_refused():
    with pytest.raises(InvalidInput, match="table_id"):
        html_table(pd.DataFrame(), caption="x", table_id="a b")


def test_statuses_are_counted_and_a_missing_one_is_named():
    frame = pd.DataFrame({"status": ["ok", "dead", "ok", None]})
    assert status_counts(frame) == {"ok": 2, "dead": 1, "none recorded": 1}


# What fits


def decoded(link):
    import base64
    import io

    return pd.read_csv(io.BytesIO(base64.b64decode(link.uri.split(",", 1)[1])))


def test_a_small_table_is_downloaded_whole_beside_a_large_one():
    frames = {"large": pd.DataFrame({"x": range(20_000)}), "small": pd.DataFrame({"x": range(10)})}
    links = csv_links(frames, 50_000)
    assert links["small"].text == "CSV, all 10 rows"
    pd.testing.assert_frame_equal(decoded(links["small"]), frames["small"])
    assert sum(len(link.uri) for link in links.values()) <= 50_000


def test_a_cut_download_says_how_many_rows_it_has_and_has_them():
    frame = pd.DataFrame({"x": range(20_000)})
    link = csv_links({"t": frame}, 30_000)["t"]
    rows = int(link.text.split("first ")[1].split(" of")[0].replace(",", ""))
    assert 1000 < rows < 20_000
    pd.testing.assert_frame_equal(decoded(link), frame.head(rows))


@pytest.mark.parametrize("spare", range(400, 1400, 37))
def test_a_cut_never_falls_inside_a_quoted_cell(spare):
    frame = pd.DataFrame({"name": [f'line {i}\nand "more",\n\nof it' for i in range(100)], "x": range(100)})
    link = csv_links({"t": frame}, spare)["t"]
    rows = int(link.text.split("first ")[1].split(" of")[0])
    pd.testing.assert_frame_equal(decoded(link), frame.head(rows))


def test_no_download_where_there_is_no_room():
    assert csv_links({"t": pd.DataFrame({"x": range(100)})}, 40) == {}


def test_largest_figures_are_left_out_first():
    kept = fitting_figures({"a": b"x" * 2_000_000, "b": b"x" * 1_000_000, "c": b"x" * 1_200_000})
    assert [name for name, image in kept.items() if image is None] == ["a"]


def test_row_cap_falls_until_the_tables_fit():
    from markupsafe import Markup

    asked = []

    def tables(cap):
        asked.append(cap)
        return {"t": Markup("x" * (cap * 60_000))}

    assert len(fitting_rows(tables)["t"]) == 600_000
    assert asked == [50, 20, 10]
