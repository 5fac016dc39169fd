from .collect import DashboardData as DashboardData, dashboard_data as dashboard_data
from .page import (
    dashboard_page as dashboard_page,
    feature_dashboard as feature_dashboard,
    save_dashboard as save_dashboard,
)
