"""What is one latent? Everything that is cheap to know of it on one offline page.

Each public name is imported when it is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from analyses.dashboards.collect import DashboardData, dashboard_data
    from analyses.dashboards.page import dashboard_page, feature_dashboard, save_dashboard

_HOME = {
    "DashboardData": "analyses.dashboards.collect",
    "dashboard_data": "analyses.dashboards.collect",
    "dashboard_page": "analyses.dashboards.page",
    "feature_dashboard": "analyses.dashboards.page",
    "save_dashboard": "analyses.dashboards.page",
}

__all__ = ["DashboardData", "dashboard_data", "dashboard_page", "feature_dashboard", "save_dashboard"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}; it has: {', '.join(__all__)}.")


def __dir__() -> list[str]:
    return __all__
