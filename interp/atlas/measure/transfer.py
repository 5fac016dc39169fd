"""Every skill in every surface template, also those that the texts never put together.

The same exercises are asked in all templates, so that two templates differ in their surface alone. They are drawn
fresh, by the generator of the texts, and so never state a fact that is held out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from interp.atlas.measure.answers import answered, said
from interp.atlas.measure.questions import Question, ambiguous_steps
from interp.atlas.measure.rows import name_words, share_row

if TYPE_CHECKING:
    from interp.atlas.corpus import Corpus, Text
    from interp.models import Model

PAIR, SEEN, UNSEEN = "skill in a template", "skill, templates met with it", "skill, template never met with it"
SEVERAL = "near to"
"""The skill with more than one right answer."""


def transfer_rows(
    model: Model, twin: Model, corpus: Corpus, *, seed: int, n: int = 100, n_twin: int = 20
) -> list[dict[str, Any]]:
    """Return the accuracy of every skill in every template, and of every skill over the templates met and never met.

    Args:
        n: exercises of each skill; each is asked in every template.
        n_twin: how many of them are asked of the random-weights twin.
    """
    out = []
    for skill in corpus.skills.names:
        texts = exercises(corpus, skill, n, seed=seed)
        right = skill_answers(model, corpus, skill, texts)
        random = skill_answers(twin, corpus, skill, [part[:n_twin] for part in texts])
        out += skill_rows(corpus, skill, texts, right, random)
    return out


def exercises(corpus: Corpus, skill: str, n: int, *, seed: int) -> list[list[Text]]:
    """Return the same `n` exercises of a skill in each template, [template][n]; those of two right answers left out.

    Exercise i is the same for every n.
    """
    skills, kept = corpus.skills, []
    ambiguous = {"next": ambiguous_steps()[0], "previous": ambiguous_steps()[1]}.get(skill, set())
    number = 0
    while len(kept) < n:
        key = np.random.SeedSequence([seed, *name_words(skill), number])
        made = [skills.document(np.random.default_rng(key), skill, template) for template in skills.templates]
        number += 1
        if not any(f" {word}{mark}" in prompt_of(text) for word in ambiguous for text in made for mark in "?."):
            kept.append(made)
    return [list(part) for part in zip(*kept, strict=True)]


def prompt_of(text: Text) -> str:
    """Return what stands before the answer of a text."""
    assert text.answer is not None
    return text.text[: text.answer[0]]


def answer_of(text: Text) -> str:
    """Return the answer of a text, with its leading space."""
    assert text.answer is not None
    return text.text[slice(*text.answer)]


def skill_answers(model: Model, corpus: Corpus, skill: str, texts: list[list[Text]]) -> np.ndarray:
    """Return bool [template, n]: whether greedy decoding gives a right answer."""
    flat = [text for part in texts for text in part]
    if skill == SEVERAL:  # any of the eight nearest cities
        geo = corpus.geography
        words = dict(zip([prompt_of(t) for t in flat], said(model, [prompt_of(t) for t in flat]), strict=True))
        near = [{geo.names[j] for j in geo.world.neighbours[text.told[-1].a]} for text in flat]
        right = np.array([words[prompt_of(t)] in names for t, names in zip(flat, near, strict=True)], dtype=bool)
    else:
        right = answered(model, [Question(skill, prompt_of(text), answer_of(text)) for text in flat])
    return right.reshape(len(texts), -1)


def skill_rows(
    corpus: Corpus, skill: str, texts: list[list[Text]], right: np.ndarray, random: np.ndarray
) -> list[dict[str, Any]]:
    """Return one row a template of a skill, and the two over the templates that it met and never met in the texts.

    Args:
        right: bool [template, n], and `random` bool [template, fewer] of the random-weights twin.
    """
    answers = np.array([answer_of(text) for text in texts[0]])
    found, counts = np.unique(answers, return_counts=True)
    commonest = answers == found[counts.argmax()]
    same = np.unique([prompt_of(text) for text in texts[0]], return_inverse=True)[1]
    met = np.array([corpus.skills.seen(skill, template) for template in corpus.skills.templates])
    name = f"commonest answer of the skill{', as drawn' if skill == SEVERAL else ''}"

    def row(measure: str, group: str, which: np.ndarray) -> dict[str, Any]:
        n = int(which.sum())
        return share_row(
            measure, right[which].ravel(), group=group, unit="share right, greedy", random=random[which].ravel(),
            baseline=np.tile(commonest, n), baseline_name=name, units=np.tile(same, n),
        )  # fmt: skip

    one = np.eye(len(met), dtype=bool)
    pairs = [
        row(PAIR, f"{skill} | {template}{'' if met[i] else ' (never met)'}", one[i])
        for i, template in enumerate(corpus.skills.templates)
    ]
    return [row(SEEN, skill, met), row(UNSEEN, skill, ~met), *pairs]
