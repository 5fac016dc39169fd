"""Indirect objects: answers by the rule, orders balanced, set-aside templates and pairs in no text."""

from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from interp.atlas.corpus import ioi
from interp.atlas.corpus.names import company
from interp.errors import InvalidInput


@pytest.fixture(scope="module")
def documents():
    rng = np.random.default_rng(0)
    return [ioi.document(rng) for _ in range(20_000)]


@pytest.fixture(scope="module")
def two(documents):
    return [t for t in documents if t.kind == "ioi/two"]


def names(text):
    return [name for _, _, name in text.people]


def test_the_answer_is_the_name_said_once_before(two):
    for t in two:
        said = Counter(t.text[start:end] for start, end, _ in t.people[:3])
        once, twice = sorted(said, key=said.__getitem__)
        assert (said[once], said[twice]) == (1, 2)
        assert t.text[slice(*t.answer)] == f" {once}"
        assert t.text == t.text[: t.answer[1]] + "."
        assert (t.labels["subject"], t.labels["object"]) == (twice, once)


def test_orders_are_what_they_say_and_balanced(two):
    for t in two:
        letters = {t.labels["object"]: "A", t.labels["subject"]: "B"}
        assert "".join(letters[n] for n in names(t)) == t.labels["order"]
    abba = np.mean([t.labels["order"] == "ABBA" for t in two])
    assert abba == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / len(two)))


def test_order_and_template_are_independent(two):
    table = Counter((t.labels["template"], t.labels["order"]) for t in two)
    for template in {t for t, _ in table}:
        n = table[template, "ABBA"] + table[template, "BABA"]
        assert table[template, "ABBA"] / n == pytest.approx(0.5, abs=4.5 * np.sqrt(0.25 / n))


def test_never_paired_names_are_in_no_text_together(documents):
    together = {pair for t in documents for pair in combinations(sorted(set(names(t))), 2)}
    assert len(together) > 300
    assert not any(ioi.never_paired(a, b) for a, b in together)


def test_templates_of_the_corpus_are_ten_at_least_and_two_are_set_aside(documents):
    used = {t.labels["template"] for t in documents if t.labels}
    aside = {name for name, template in ioi.TEMPLATES.items() if template.set_aside}
    assert len(used) >= 10
    assert len(aside) == 2
    assert used == set(ioi.TEMPLATES) - aside


def test_all_kinds_of_distractors_occur(documents):
    share = Counter(t.kind for t in documents)
    assert set(share) == {"ioi/two", "ioi/third", "ioi/plain", "ioi/alone"}
    assert 0.6 < share["ioi/two"] / len(documents) < 0.75
    assert min(share.values()) > len(documents) / 12


def test_a_third_giver_gives_to_either_of_the_two_as_often(documents):
    third = [t for t in documents if t.kind == "ioi/third"]
    assert all(len(set(names(t)[:3])) == 3 and names(t)[3] in names(t)[:2] and t.answer is None for t in third)
    first = np.mean([names(t)[3] == names(t)[0] for t in third])
    assert first == pytest.approx(0.5, abs=4 * np.sqrt(0.25 / len(third)))


def test_plain_texts_repeat_nobody_and_texts_of_one_name_repeat_it(documents):
    assert all(len(set(names(t))) == len(names(t)) == 2 for t in documents if t.kind == "ioi/plain")
    alone = [t for t in documents if t.kind == "ioi/alone"]
    assert all(len(set(names(t))) == 1 and len(names(t)) == 2 for t in alone)


def sentences_between(text):
    (_, met, _), (gives, _, _) = text.people[1:3]
    return text.text[met:gives].count(".")


def test_some_texts_have_a_sentence_between(two):
    with_two = [t for t in two if sentences_between(t) == 2]
    assert 0.15 < len(with_two) / len(two) < 0.25


def test_the_distance_of_the_names_does_not_tell_the_template(two):
    """A receiver at a fixed distance could be named without looking who gives."""
    words = {}
    for t in two:
        (_, _, _), (_, second, _), (third, _, _), _ = t.people
        words.setdefault(t.labels["template"], Counter())[t.text[second:third].count(" ")] += 1
        words.setdefault("before " + t.labels["template"], Counter())[t.text[: t.people[0][0]].count(" ")] += 1
    for counted in words.values():
        assert counted.most_common(1)[0][1] < 0.85 * counted.total()


def test_every_meeting_goes_with_every_verb(two):
    verbs = {}
    for t in two:
        said = set(t.text.split()) & set(ioi._GAVE)
        verbs.setdefault(t.labels["template"], set()).update(said)
    assert all(seen == set(ioi._GAVE) for template, seen in verbs.items() if template != "talk")


def test_who_gives_does_not_depend_on_how_common_a_name_is(two):
    counts = Counter(t.labels["subject"] for t in two)
    for name, n in counts.most_common(10):
        received = sum(t.labels["object"] == name for t in two)
        assert abs(n - received) < 4.5 * np.sqrt(n + received)


@pytest.mark.parametrize("order", ioi.ORDERS)
@pytest.mark.parametrize("template", list(ioi.TEMPLATES))
def test_a_sample_is_of_the_template_and_order_asked_for(template, order):
    rng = np.random.default_rng(1)
    for apart in (False, True):
        t = ioi.sample(rng, template, order=order, never_paired=apart)
        assert t.labels == {"template": template, "order": order} | {
            "subject": t.text[t.people[2][0] : t.people[2][1]], "object": t.text[slice(*t.answer)].strip(),
        }  # fmt: skip
        assert ioi.never_paired(t.labels["subject"], t.labels["object"]) == apart
        assert names(t)[0] == t.labels["object" if order == "ABBA" else "subject"]


def test_a_sample_with_a_filler_has_a_sentence_more():
    rng = np.random.default_rng(2)
    assert all(sentences_between(ioi.sample(rng, filler=True)) == 2 for _ in range(100))
    with pytest.raises(InvalidInput, match="takes no filler"):
        ioi.sample(rng, "when", filler=True)


@pytest.mark.parametrize("wrong", [{"template": "whenn"}, {"order": "ABAB"}])
def test_unknown_names_are_refused_with_the_nearest(wrong):
    with pytest.raises(InvalidInput, match=r"nearest: (when|BABA|ABBA)"):
        ioi.sample(np.random.default_rng(0), **wrong)


def test_swapping_the_giver_swaps_the_answer_and_nothing_else():
    rng = np.random.default_rng(3)
    for _ in range(200):
        t = ioi.sample(rng, filler=bool(rng.random() < 0.5))
        other = ioi.counterfactual(t)
        assert names(other) == [*names(t)[:2], t.labels["object"], t.labels["subject"]]
        assert other.text[slice(*other.answer)] == " " + t.labels["subject"]
        assert other.labels["order"] != t.labels["order"]
        assert [other.text[s:e] for s, e, _ in other.people] == names(other)
        back = ioi.counterfactual(other)
        assert (back.text, back.answer, back.people, back.labels) == (t.text, t.answer, t.people, t.labels)


def test_a_third_giver_leaves_all_else_in_place_and_no_right_answer():
    rng = np.random.default_rng(4)
    for _ in range(200):
        t = ioi.sample(rng)
        third = next(n for n in iter(lambda: company(rng, 1)[0], "") if n not in names(t))
        other = ioi.counterfactual(t, third)
        assert names(other) == [*names(t)[:2], third, names(t)[3]]
        assert other.answer is None
        assert other.labels["order"] == "ABC"
        start, end, _ = t.people[2]
        assert other.text == t.text[:start] + third + t.text[end:]


def test_a_counterfactual_does_not_change_its_text():
    t = ioi.sample(np.random.default_rng(5))
    before = (t.text, list(t.people), t.answer, dict(t.labels))
    ioi.counterfactual(t)
    assert (t.text, t.people, t.answer, t.labels) == before


def test_counterfactuals_refuse_the_same_giver_and_other_texts():
    rng = np.random.default_rng(6)
    t = ioi.sample(rng)
    with pytest.raises(InvalidInput, match="gives already"):
        ioi.counterfactual(t, t.labels["subject"])
    third = ioi.counterfactual(t, "Nobody")
    with pytest.raises(InvalidInput, match=r"ioi\.sample"):
        ioi.counterfactual(third)
