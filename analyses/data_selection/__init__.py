"""Which training samples are relevant to this task? Scores of a pool against target examples, and what to pick.

Each public name is imported when it is first used, so that reading a file does not cost the imports of a model.
"""

from __future__ import annotations

from interp.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
