"""From a row to its turns, for the layouts in which instruction data is passed on.

Each row is looked at by itself, so a file may mix layouts; how many rows had which is counted and said.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from analyses.data_selection.samples import Turn, UnusableRow
from interp.errors import InvalidInput, nearest

_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user", "prompter": "user",
    "assistant": "assistant", "gpt": "assistant", "bot": "assistant", "model": "assistant", "chatgpt": "assistant",
    "tool": "tool", "function": "tool", "function_call": "assistant", "observation": "tool",
}  # fmt: skip
_ANSWERS = {"alpaca": ("output", "response"), "prompt_completion": ("completion", "response", "answer")}


def find_turns(row: Any, schema: str = "auto") -> tuple[str, tuple[Turn, ...]]:
    """Return the schema of a row and its turns.

    Args:
        row: what a line or a table row holds.
        schema: "auto", or one of SCHEMAS, and then a row of another is not usable.

    Raises:
        UnusableRow: no object, no known schema, a field of another type, an empty answer or text.
    """
    if not isinstance(row, Mapping):
        raise UnusableRow("not an object", f"the row is a {type(row).__name__}")
    names = SCHEMAS if schema == "auto" else (schema,)
    name = next((name for name in names if _FITS[name](row)), None)
    if name is None:
        expected = "any of " + ", ".join(SCHEMAS) if schema == "auto" else schema
        raise UnusableRow("no known schema", f"fields {', '.join(map(str, list(row)[:8]))}; expected {expected}"[:300])
    turns = _READ[name](row)
    for turn in turns:
        _require_text(turn.content)
    _require_answer(turns)
    return name, turns


def check_schema(schema: str) -> None:
    """Raise InvalidInput for a schema that does not exist."""
    if schema not in ("auto", *SCHEMAS):
        raise InvalidInput(
            f"schema {schema!r} does not exist. Nearest: {', '.join(nearest(schema, SCHEMAS))}. "
            f"All: auto, {', '.join(SCHEMAS)}."
        )


def _of_messages(field: str) -> Callable[[Mapping[str, Any]], tuple[Turn, ...]]:
    return lambda row: _turns(row[field], field)


def _turns(value: Any, field: str) -> tuple[Turn, ...]:
    if not isinstance(value, list) or not value:
        raise UnusableRow("bad field", f"{field} is {_shown(value)}; expected a list of messages")
    return tuple(_turn(one, field) for one in value)


def _turn(message: Any, field: str) -> Turn:
    if not isinstance(message, Mapping):
        raise UnusableRow("bad field", f"a message in {field} is {_shown(message)}")
    role = message.get("role", message.get("from"))
    known = _ROLES.get(role.strip().lower()) if isinstance(role, str) else None
    if known is None:
        raise UnusableRow("bad field", f"role {_shown(role)} in {field}; expected user, assistant, system or tool")
    return Turn(known, _content(message.get("content", message.get("value")), field))


def _content(content: Any, field: str) -> str:
    if content is None:  # a message that is only a tool call
        return ""
    if isinstance(content, list):
        parts = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) < len(parts):
            raise UnusableRow("bad field", f"a message in {field} holds a part that is no text")
        return "\n".join(texts)
    return _text(content, f"content in {field}")


def _alpaca(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    given = row.get("input")
    more = _text(given, "input") if given is not None else ""
    prompt = _text(row["instruction"], "instruction") + (f"\n\n{more}" if more.strip() else "")
    system = row.get("system")
    first = (Turn("system", _text(system, "system")),) if system else ()
    return (*first, Turn("user", prompt), Turn("assistant", _text(_answer(row, "alpaca"), "output")))


def _prompt_completion(row: Mapping[str, Any]) -> tuple[Turn, ...]:
    prompt, answer = row["prompt"], _answer(row, "prompt_completion")
    before = _turns(prompt, "prompt") if isinstance(prompt, list) else (Turn("user", _text(prompt, "prompt")),)
    after = (
        _turns(answer, "completion") if isinstance(answer, list) else (Turn("assistant", _text(answer, "completion")),)
    )
    return before + after


def _answer(row: Mapping[str, Any], schema: str) -> Any:
    return next(row[name] for name in _ANSWERS[schema] if name in row)


def _has_answer(row: Mapping[str, Any], first: str, schema: str) -> bool:
    return first in row and any(name in row for name in _ANSWERS[schema])


def _text(value: Any, field: str) -> str:
    if not isinstance(value, str):
        raise UnusableRow("bad field", f"{field} is {_shown(value)}; expected text")
    return value


def _require_text(content: str) -> None:
    try:
        content.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UnusableRow("lone surrogate", f"half a character at {error.start}; no tokenizer can take it") from error


def _require_answer(turns: tuple[Turn, ...]) -> None:
    if not any(turn.content.strip() for turn in turns):
        raise UnusableRow("empty text")
    answers = [turn.content for turn in turns if turn.role == "assistant"]
    if turns[0].role != "text" and not any(answer.strip() for answer in answers):
        raise UnusableRow("empty answer", "no turn of the assistant has text")


def _shown(value: Any) -> str:
    return f"{type(value).__name__} {value!r:.60}" if not isinstance(value, list | Mapping) else type(value).__name__


_FITS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "messages": lambda row: "messages" in row,
    "sharegpt": lambda row: "conversations" in row,
    "prompt_completion": lambda row: _has_answer(row, "prompt", "prompt_completion"),
    "alpaca": lambda row: _has_answer(row, "instruction", "alpaca"),
    "text": lambda row: "text" in row,
}
_READ: dict[str, Callable[[Mapping[str, Any]], tuple[Turn, ...]]] = {
    "messages": _of_messages("messages"),
    "sharegpt": _of_messages("conversations"),
    "prompt_completion": _prompt_completion,
    "alpaca": _alpaca,
    "text": lambda row: (Turn("text", _text(row["text"], "text")),),
}
SCHEMAS = tuple(_FITS)
