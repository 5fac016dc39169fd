"""Public names of a package that load their module on first use, so that a table of places does not cost torch.

The names of a package stand once, in the stub beside its `__init__.py`: type checkers read the same file.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from lazy_loader import attach_stub


def attach(package: str, file: str) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package from its stub; an unknown name is told what there is.

    `package` is the `__name__` and `file` the `__file__` of an `__init__.py` with an `__init__.pyi` beside it.
    """
    load, names, public = attach_stub(package, file)

    def get(name: str) -> Any:
        if name in public:
            return load(name)
        raise AttributeError(f"module {package!r} has no attribute {name!r}; it has: {', '.join(public)}")

    return get, names, public
