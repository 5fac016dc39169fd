"""Fenced blocks of a Markdown page: their language, their text, and the file that a caption names."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(r"^```(\S*)(?: (\w+))?\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_CAPTION = re.compile(r":caption: (\S+)\n\n?")


@dataclass(frozen=True)
class Block:
    """One fenced block: `text` is what a reader copies."""

    page: str
    language: str
    text: str
    caption: str | None = None

    @property
    def lines(self) -> list[str]:
        """Lines that do something."""
        return [line for line in self.text.splitlines() if line.strip()]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page in order; directives other than code blocks are left out."""
    found = []
    for match in _BLOCK.finditer(page.read_text()):
        language, argument, text = match[1], match[2], match[3]
        caption = None
        if language == "{code-block}":
            language, named = argument, _CAPTION.match(text)
            if named:
                caption, text = named[1], text[named.end() :]
        if not language.startswith("{"):
            found.append(Block(page.name, language, text, caption))
    return found
