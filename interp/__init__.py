"""interp: measure what a transformer represents, with the null beside every number.

The public names of the instrument, assembled here and nowhere else. Each is imported when it is first
used, so that `import interp` costs milliseconds and torch is loaded only by what needs it.
"""

from __future__ import annotations

from interp.lazy import attach

__version__ = "0.1.0"
__getattr__, __dir__, __all__ = attach(__name__, __file__)
__all__ += ["__version__"]
