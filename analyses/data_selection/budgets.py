"""How much is picked: samples, a share of the pool, or tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass

from interp.errors import InvalidInput

_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}


@dataclass(frozen=True)
class Budget:
    """`amount` of "samples" or "tokens"."""

    amount: int
    unit: str

    def __str__(self) -> str:
        return f"{self.amount:,} {self.unit}"


def parse_budget(given: str | int | float, *, n_samples: int, n_tokens: int) -> Budget:
    """Return the budget that "500", 500, "5%", 0.05, "200k tokens" or "5% tokens" stand for.

    Args:
        n_samples, n_tokens: of the pool; a share is of them, rounded to the nearest, at least 1.

    Raises:
        InvalidInput: none of these, nothing, or more than the pool has.
    """
    text = f"{given:%}" if isinstance(given, float) and not isinstance(given, bool) else str(given)
    found = re.fullmatch(r"\s*([\d.,_]+)\s*(%|[kmb]?)\s*(samples?|tokens?)?\s*", text.lower())
    number = _number(found[1]) if found and not isinstance(given, bool) else None
    if found is None or number is None or number <= 0:
        raise InvalidInput(f"budget {given!r} is none; expected for instance 500, '5%', '200k tokens' or '5% tokens'.")
    unit = "tokens" if (found[3] or "").startswith("token") else "samples"
    whole = n_tokens if unit == "tokens" else n_samples
    amount = max(1, round(whole * number / 100)) if found[2] == "%" else number * _UNITS[found[2]]
    if amount != int(amount) or amount > whole:
        raise InvalidInput(f"budget {given!r} is {amount:,} {unit}; the pool has {whole:,}.")
    return Budget(int(amount), unit)


def _number(text: str) -> float | None:
    try:
        return float(text.replace(",", "").replace("_", ""))
    except ValueError:
        return None
