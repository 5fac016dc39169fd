"""Small things whose right answer is known, made in memory: for tests, examples and checking a detector of one's own.

Nothing here is read from disk or a hub. Names load their module on first use.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
