"""What do the attention layers move, and why? Attribution of attention features, heads, and families of both.

Each public name is imported when it is first used.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
