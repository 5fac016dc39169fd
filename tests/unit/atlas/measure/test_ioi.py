"""The indirect-object figures on models that answer as planted, and on transformers one text at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from interp.atlas.corpus.text import Text
from interp.atlas.measure.ioi import ioi_rows, ioi_texts, judge
from interp.atlas.measure.rows import card_table
from interp.errors import InvalidInput
from interp.testing import tiny_model, tiny_tokenizer

from .planted import PlantedModel, knows, uniform

NAMES = ("Anna", "Ben", "Carla", "Zoe", "Yann")
TOKENIZER = tiny_tokenizer(words=[*NAMES[:3], "and", "met", "gave", "to"])  # Zoe and Yann take several tokens
TEMPLATES = {"in training": ["met", "gave"], "set aside": ["to"]}


def sample(rng, template: str, order: str, never_paired: bool) -> Text:
    """ "Anna and Ben met Anna to Ben": the answer is the name that was named once."""
    names = NAMES[:2] if never_paired else NAMES[1:4]
    subject, obj = rng.permutation(names)[:2].tolist()
    first = (obj, subject) if order == "ABBA" else (subject, obj)
    labels = {"template": template, "order": order, "subject": subject, "object": obj}
    text = Text("ioi", labels=labels).add(f"{first[0]} and {first[1]} {template} {subject} to")
    return text.reply(f" {obj}").add(".")


def texts(n: int = 24, order: str = "ABBA") -> list[Text]:
    return ioi_texts(sample, ["met", "gave"], n, order=order, never_paired=False, seed=0)


def ids_of(text: str) -> list[int]:
    return TOKENIZER(text)["input_ids"][1:]


def planted(which: str, margin: float = 5.0) -> PlantedModel:
    """A model that finishes every prompt of `texts` with the name labelled `which`."""
    following = {}
    for order in ("ABBA", "BABA"):
        for never in (False, True):
            for text in ioi_texts(sample, ["met", "gave", "to"], 90, order=order, never_paired=never, seed=0):
                prompt = [0, *ids_of(text.text[: text.answer[0]])]
                answer = ids_of(f" {text.labels[which]}")
                for j in range(len(answer)):
                    following[tuple(prompt + answer[:j])] = answer[j]
    return PlantedModel(
        knows(len(TOKENIZER), lambda prefix: following.get(tuple(prefix), 1), margin=margin), tokenizer=TOKENIZER
    )


def test_a_model_that_names_the_object_is_always_right():
    found = judge(planted("object"), texts())
    assert found.greedy.all()
    np.testing.assert_allclose(found.difference, 5.0)


def test_a_model_that_repeats_the_subject_is_never_right():
    found = judge(planted("subject"), texts())
    assert not found.greedy.any()
    np.testing.assert_allclose(found.difference, -5.0)


def test_a_model_without_preference_differs_by_nothing():
    found = judge(PlantedModel(uniform(len(TOKENIZER)), tokenizer=TOKENIZER), texts())
    assert not found.greedy.any()  # of equal logits the first is taken, and it is no name
    np.testing.assert_array_equal(found.difference, 0.0)


def test_random_preferences_are_at_chance():
    rng = np.random.default_rng(0)
    model = PlantedModel(lambda ids: rng.standard_normal((*ids.shape, len(TOKENIZER))), tokenizer=TOKENIZER)
    found = judge(model, texts(600))
    assert abs((found.difference > 0).mean() - 0.5) < 0.08
    assert found.greedy.mean() < 0.03


def test_the_preferred_name_is_not_greedy_where_another_token_leads():
    lead = planted("object")
    model = PlantedModel(lambda ids: lead.function(ids) + 9.0 * (np.arange(lead.d_vocab) == 7), tokenizer=TOKENIZER)
    found = judge(model, texts())
    assert (found.difference > 0).all()
    assert not found.greedy.any()


def test_judgements_are_those_of_transformers_one_text_at_a_time():
    model, given = tiny_model(tokenizer=TOKENIZER), texts(8)
    found = judge(model, given)
    for i, text in enumerate(given):
        prompt, answer = [0, *ids_of(text.text[: text.answer[0]])], ids_of(f" {text.labels['object']}")
        with torch.no_grad():
            logits = model.bridge.original_model(input_ids=torch.tensor([prompt + answer])).logits[0].double()
        last = logits[len(prompt) - 1]
        expected = float(last[answer[0]] - last[ids_of(f" {text.labels['subject']}")[0]])
        assert found.difference[i] == pytest.approx(expected, abs=1e-4)
        best = logits.argmax(-1).tolist()[len(prompt) - 1 : -1]
        assert found.greedy[i] == (best == answer)


def test_names_that_begin_alike_are_not_compared():
    given = [Text("ioi", labels={"subject": "Zoa", "object": "Zoe"}).add("Zoe and Zoa met Zoa to").reply(" Zoe")]
    found = judge(PlantedModel(uniform(len(TOKENIZER)), tokenizer=TOKENIZER), given)
    assert np.isnan(found.difference).all()
    assert not found.comparable.any()


def test_texts_without_an_answer_are_refused():
    with pytest.raises(InvalidInput, match="no answer or no label"):
        judge(planted("object"), [Text("ioi").add("Anna met Ben.")])


def test_an_answer_that_changes_the_tokens_before_it_is_refused():
    given = [Text("ioi", labels={"subject": "Zoe", "object": "Anna"}).add("Zoe met Zoe to ").reply("Anna")]
    with pytest.raises(InvalidInput, match="begin with its space"):
        judge(planted("object"), given)


def test_templates_take_turns_and_texts_depend_on_their_place_alone():
    some, more = texts(6), texts(24)
    assert [t.labels["template"] for t in more] == ["met", "gave"] * 12
    assert [t.text for t in some] == [t.text for t in more[:6]]
    assert {t.labels["order"] for t in texts(6, order="BABA")} == {"BABA"}


def test_every_group_has_its_three_rows_beside_twin_and_chance():
    twin = PlantedModel(uniform(len(TOKENIZER)), tokenizer=TOKENIZER)
    table = card_table(ioi_rows(planted("object"), twin, sample, TEMPLATES, n=30, seed=0))
    assert len(table) == 2 * 2 * 2 * 3
    assert table["group"].nunique() == 8
    assert set(table["status"]) == {"ok"}
    right = table[table["measure"] == "indirect object, object over subject"]
    assert (right["value"] == 1).all()
    assert (right["random_weights"] == 0).all()
    assert (right["baseline"] == 0.5).all()
    greedy = table[table["measure"] == "indirect object, greedy"].set_index("group")
    assert (greedy["value"] == 1).all()
    never = [0.5 <= b < 0.85 for g, b in greedy["baseline"].items() if "never" in g]  # two names to answer with
    assert len(never) == 4
    assert all(never)
    difference = table[table["measure"] == "indirect object, logit difference"]
    np.testing.assert_allclose(difference[["value", "ci_low", "ci_high"]].astype(float), 5.0)


def test_texts_left_out_are_counted():
    def alike(rng, **kept) -> Text:
        subject = str(rng.choice(["Zoa", "Anna"]))
        text = Text("ioi", labels={"subject": subject, "object": "Zoe", "template": "met", "order": "ABBA"})
        return text.add(f"Zoe and {subject} met {subject} to").reply(" Zoe")

    twin = PlantedModel(uniform(len(TOKENIZER)), tokenizer=TOKENIZER)
    table = card_table(ioi_rows(twin, twin, alike, {"in training": ["met"]}, n=40, seed=0))
    for _, row in table.iterrows():
        if row["measure"].endswith("greedy"):
            assert (row["n"], row["status"]) == (40, "ok")
        else:
            assert row["n"] < 40
            assert row["status"] == f"ok; {40 - row['n']} texts left out, whose names begin with one token"
