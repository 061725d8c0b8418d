"""Balance, spending and requests, as they happen."""

from django.urls import path

from portal.dashboard import views

urlpatterns = [
    path("dashboard", views.dashboard, name="dashboard"),
    path("dashboard/balance", views.balance, name="balance"),
    path("dashboard/live", views.live, name="dashboard_live"),
]
