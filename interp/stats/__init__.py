"""Numeric kernels on arrays alone: no model, no file, no plot.

Each public name is imported when it is first used, so that one kernel does not cost the imports of all.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
