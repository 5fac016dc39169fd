"""A pool whose relevant rows are known: skills crossed with surface templates, wrong answers, fillers, other documents.

What a sample asks for and what it looks like are independent, so a method that goes by the look alone takes the other
skills of the target's template; wrong answers and length are independent of both.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from analyses.data_selection.reading import read_samples
from analyses.data_selection.samples import Sample
from analyses.data_selection.worth_targets import RELEVANT, Target
from interp.errors import InvalidInput

FORM = "{content}"
"""Template (see `render`) of these samples: the prompt and the answer after it, with nothing between."""


def skill_pool(
    corpus: Any,
    tasks: Sequence[str],
    *,
    seed: int,
    per_cell: int = 12,
    n_documents: int = 580,
    n_examples: int = 16,
    n_held_out: int = 48,
    wrong: float = 0.2,
    filled: float = 1 / 3,
) -> tuple[list[Sample], dict[str, Target]]:
    """Return a pool and one target a task; equal seeds, equal samples.

    Args:
        corpus: generator of the bundled model's texts (`facts().corpus()`).
        tasks: skills that are targets, out of the corpus's 17, all of which are in the pool.
        per_cell: samples of each skill in each of the five templates that the corpus has it in.
        n_documents: other documents of the corpus, as plain text.
        n_examples: examples of a target, all in its first template.
        n_held_out: held-out rows in that template; as many in the four others, and in the one the skill is never in.
        wrong: share of the samples with the answer of another sample of the same skill.
        filled: share of the samples with a short story before them, whatever their skill.

    Raises:
        InvalidInput: a task that is no skill.
    """
    skills = corpus.skills
    unknown = [task for task in tasks if task not in skills.names]
    if unknown:
        raise InvalidInput(f"there is no skill {unknown[0]!r}; there are {', '.join(skills.names)}.")
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(94,)))
    items = _items(skills, rng, per_cell)
    corrupted = _corrupt(items, rng, wrong)
    for item in items:
        if rng.random() < filled:
            item["prompt"] = f"{_story(corpus, rng)} {item['prompt']}"
    items += [{"text": _document(corpus, rng)} for _ in range(n_documents)]
    corrupted = np.concatenate([corrupted, np.zeros(n_documents, bool)])
    order = rng.permutation(len(items))
    items, corrupted = [items[i] for i in order], corrupted[order]
    pool = list(read_samples([{k: v for k, v in one.items() if k not in ("skill", "template")} for one in items]))
    return pool, {
        task: _target(skills, rng, task, items, corrupted, n_examples=n_examples, n_held_out=n_held_out)
        for task in tasks
    }


def _target(
    skills: Any, rng: Any, task: str, items: list[dict[str, str]], corrupted: np.ndarray, *, n_examples: int,
    n_held_out: int,
) -> Target:  # fmt: skip
    first, *others = [t for t in skills.templates if skills.seen(task, t)]
    (never,) = [t for t in skills.templates if not skills.seen(task, t)]

    def fresh(templates: Sequence[str], n: int) -> list[Sample]:
        made = [_item(skills, rng, task, templates[i % len(templates)]) for i in range(n)]
        return list(read_samples([{"prompt": one["prompt"], "completion": one["completion"]} for one in made]))

    skill = np.array([one.get("skill") == task for one in items])
    template = np.array([one.get("template") == first for one in items])
    labels = {
        RELEVANT: skill & ~corrupted, "shortcut": template & ~skill, "wrong_answer": corrupted,
        "own_cell": skill & template, "document": np.array(["text" in one for one in items]),
    }  # fmt: skip
    held_out = {
        "target template": fresh([first], n_held_out),
        "other templates": fresh(others, n_held_out),
        "template never met": fresh([never], n_held_out),
    }
    return Target(fresh([first], n_examples), held_out, labels)


def _items(skills: Any, rng: Any, per_cell: int) -> list[dict[str, str]]:
    cells = [
        (skill, template) for skill in skills.names for template in skills.templates if skills.seen(skill, template)
    ]
    return [_item(skills, rng, skill, template) for skill, template in cells for _ in range(per_cell)]


def _item(skills: Any, rng: Any, skill: str, template: str) -> dict[str, str]:
    text = skills.document(rng, skill, template)
    whole, start = "".join(text.parts), text.answer[0]
    return {"prompt": whole[:start], "completion": whole[start:], "skill": skill, "template": template}


def _corrupt(items: list[dict[str, str]], rng: Any, share: float) -> np.ndarray:
    """Give a share of the items another answer that their skill has; return which, bool [item]."""
    answers: dict[str, list[str]] = {}
    for item in items:
        answers.setdefault(item["skill"], []).append(item["completion"])
    wrong = rng.random(len(items)) < share
    for at in np.flatnonzero(wrong):
        others = [one for one in answers[items[at]["skill"]] if one != items[at]["completion"]]
        items[at]["completion"] = others[int(rng.integers(len(others)))]
    return wrong


def _story(corpus: Any, rng: Any) -> str:
    return _short("".join(corpus.sample("stories", rng).parts))


def _document(corpus: Any, rng: Any) -> str:
    while (text := corpus.document(rng)).kind.startswith("tasks"):
        continue
    return _short("".join(text.parts))


def _short(text: str, words: int = 40) -> str:
    return " ".join(text.split()[:words])
