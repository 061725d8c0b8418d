"""Today's spending and requests."""

from django.urls import path

from portal.dashboard import views

urlpatterns = [
    path("dashboard", views.dashboard, name="dashboard"),
]
