"""What can be read out of each layer? Probes with their nulls, controls and baselines in the same row.

Each public name is imported when it is first used, so that a table does not cost the imports of a model.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
