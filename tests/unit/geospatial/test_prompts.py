import pandas as pd
import pytest

from analyses.geospatial.prompts import make_prompts
from interp.errors import InvalidInput

PLACES = pd.DataFrame(
    {"name": ["Zürich", "São Paulo"], "lat": [47.4, -23.5], "lon": [8.5, -46.6], "country": ["CH", "BR"]}
)


def test_the_name_alone_is_the_default_and_gives_no_region():
    prompts = make_prompts(PLACES)
    assert prompts.texts == ["Zürich", "São Paulo"]
    assert prompts.spans == [(0, 6), (0, 9)]
    assert not prompts.gives_region


def test_spans_cover_the_name_and_a_region_is_flagged():
    prompts = make_prompts(PLACES, "In {country}, {name} lies")
    assert [t[a:b] for t, (a, b) in zip(prompts.texts, prompts.spans, strict=True)] == ["Zürich", "São Paulo"]
    assert prompts.texts[1] == "In BR, São Paulo lies"
    assert prompts.gives_region


def test_braces_in_a_name_are_text():
    places = pd.DataFrame({"name": ["{lat}"]})
    assert make_prompts(places).texts == ["{lat}"]


@pytest.mark.parametrize(
    "template", ["", "city", "{name} {name}", "{name!r}", "{name:>9}", "{name.x}", "{", "{0} {name}", "{{name}} {name}"]
)
def test_a_template_without_exactly_one_plain_name_is_refused(template):
    with pytest.raises(InvalidInput):
        make_prompts(PLACES, template)


def test_an_unknown_field_names_the_nearest_column():
    with pytest.raises(InvalidInput, match="country"):
        make_prompts(PLACES, "{name} in {contry}")


def test_an_empty_name_is_refused():
    with pytest.raises(InvalidInput, match="row 1"):
        make_prompts(pd.DataFrame({"name": ["a", " "]}))


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_a_missing_value_is_never_written_into_a_prompt(missing):
    places = pd.DataFrame({"name": ["a", "b"], "country": ["FR", missing]})
    with pytest.raises(InvalidInput, match=r"\{country\}, which 1 places do not have, the first in row 1"):
        make_prompts(places, "{name} in {country}")
    assert make_prompts(places).texts == ["a", "b"]


def test_a_missing_name_is_refused():
    with pytest.raises(InvalidInput, match="row 1"):
        make_prompts(pd.DataFrame({"name": ["a", None]}))
