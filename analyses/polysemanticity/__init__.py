"""Does this unit mean one thing or several? Audits of neurons, heads and latents, and the scores around them.

Each public name is imported when it is first used, so that a score on arrays does not cost the imports of a model.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
