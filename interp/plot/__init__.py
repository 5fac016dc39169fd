"""Figures, offline maps and the one-file report; names load their module on first use."""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
