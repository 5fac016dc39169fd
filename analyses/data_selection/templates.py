"""From turns to the text that a model reads, with the characters of the answers marked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from analyses.data_selection.samples import Turn, UnusableRow
from interp.errors import InvalidInput

TEMPLATES = {
    "plain": ("{content}", "\n"),
    "tulu": ("<|{role}|>\n{content}", "\n"),
    "chatml": ("<|im_start|>{role}\n{content}<|im_end|>", "\n"),
}
"""Form of a turn, and what stands between two."""


@dataclass(frozen=True)
class Rendered:
    """A text and the (start, end) characters of what the assistant says in it."""

    text: str
    answers: tuple[tuple[int, int], ...]


def render(turns: tuple[Turn, ...], template: str, tokenizer: Any = None) -> Rendered:
    """Return the text of a sample; plain text is itself under every template.

    Args:
        template: "plain" (contents, one below the other), "tulu", "chatml", "tokenizer" (its own chat template), or a
            form with {role} and {content}, repeated for each turn with nothing between.
        tokenizer: for "tokenizer".

    Raises:
        InvalidInput: see `check_template`. UnusableRow: the chat template refuses the turns, or changes an answer.
    """
    if turns[0].role == "text":
        return Rendered("\n".join(turn.content for turn in turns), ())
    if template == "tokenizer":
        return _with_tokenizer(turns, tokenizer)
    form, between = TEMPLATES.get(template, (template, ""))
    before, after = form.split("{content}")
    text, answers = "", []
    for number, turn in enumerate(turns):
        text += (between if number else "") + before.replace("{role}", turn.role)
        start = len(text)
        text += turn.content
        if turn.role == "assistant" and turn.content:
            answers.append((start, len(text)))
        text += after.replace("{role}", turn.role)
    return Rendered(text, tuple(answers))


def check_template(template: str, tokenizer: Any = None) -> None:
    """Raise InvalidInput for a form without exactly one {content}, or a tokenizer that has no chat template."""
    if template == "tokenizer":
        if not getattr(tokenizer, "chat_template", None):
            raise InvalidInput(
                "template='tokenizer', but this tokenizer has no chat template; give one of "
                f"{', '.join(map(repr, TEMPLATES))}, or a form such as '{{role}}: {{content}}\\n'."
            )
    elif template not in TEMPLATES and template.count("{content}") != 1:
        raise InvalidInput(
            f"template {template!r} is none of {', '.join(map(repr, (*TEMPLATES, 'tokenizer')))} and no form with "
            "{content} exactly once, such as '{role}: {content}\\n'."
        )


def _with_tokenizer(turns: tuple[Turn, ...], tokenizer: Any) -> Rendered:
    messages = [{"role": turn.role, "content": turn.content} for turn in turns]
    text = _apply(tokenizer, messages, False)
    answers = []
    for number, turn in enumerate(turns):
        content = turn.content.strip()
        if turn.role != "assistant" or not content:
            continue
        before = _apply(tokenizer, messages[:number], True) if number else ""
        start = text.find(content, len(before)) if text.startswith(before) else -1
        if start < 0:
            raise UnusableRow("chat template", f"the answer of turn {number + 1} is not in the text as it stands")
        answers.append((start, start + len(content)))
    return Rendered(text, tuple(answers))


def _apply(tokenizer: Any, messages: list[dict[str, str]], prompt: bool) -> str:
    try:
        return tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt)
    except Exception as error:  # a template is a program: it raises what it likes
        raise UnusableRow("chat template", f"{type(error).__name__}: {error}"[:200]) from error
