"""The named errors of the toolkit.

A researcher meets an error at the worst moment, so every message says four things: what was given,
what was expected, the nearest valid values, and what to do. The class decides the exit code of the
command line: 2 the user can mend it, 3 a file is not what was written, 4 the machine ran out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class InterpError(Exception):
    """Base of every error that this toolkit raises on purpose."""

    exit_code = 2


class InvalidInput(InterpError, ValueError):
    """A value, a file or a table that the user gave cannot be used as it is."""


class UnknownSite(InterpError, KeyError):
    """A site that does not exist in the model (or is no site at all)."""

    def __str__(self) -> str:  # KeyError would print the repr of the message
        return str(self.args[0]) if self.args else ""


class UnknownName(InterpError, KeyError):
    """A model, SAE, analysis or asset of that name does not exist."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""


class ModelMismatch(InterpError):
    """The model breaks an identity that holds in every transformer of its kind."""


class SaeMismatch(InterpError):
    """An SAE and what it is used with (site, width, convention, model) do not fit."""


class HookNotFired(InterpError):
    """A site was asked for and its hook did not fire exactly once a batch."""


class NonFinite(InterpError):
    """An activation is NaN or infinite."""


class RunLocked(InterpError):
    """Another process is writing to the same folder."""


class CorruptArtifact(InterpError):
    """A file is missing bytes, has others than were written, or is not of its format."""

    exit_code = 3


class ResourceExhausted(InterpError):
    """No space on the disk, no permission to write, or not enough memory."""

    exit_code = 4


def nearest(given: str, valid: Iterable[str], n: int = 3) -> list[str]:
    """Return the `n` names of `valid` most like `given`, best first (never empty if `valid` is not).

    >>> nearest("resid_pots", ["resid_post", "resid_pre", "z"], n=1)
    ['resid_post']
    """
    names = list(dict.fromkeys(valid))
    close = difflib.get_close_matches(given, names, n=n, cutoff=0.0)
    return close or names[:n]
