"""What is one latent? Everything that is cheap to know of it on one offline page.

Each public name is imported when it is first used.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
