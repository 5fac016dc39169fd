"""Is geography laid out in the features? Places, spatial weights, and tests of spatial autocorrelation.

Each public name is imported when it is first used, so that a table of places does not cost the imports of a model.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
