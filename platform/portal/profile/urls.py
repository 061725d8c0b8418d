"""A user's settings."""

from django.urls import path

from portal.profile import views

urlpatterns = [
    path("settings", views.profile, name="profile"),
    path("settings/notifications", views.notifications, name="notifications"),
    path("settings/data", views.your_data, name="your_data"),
    path("settings/data/export", views.export, name="export_data"),
    path("settings/delete", views.delete_account, name="delete_account"),
]
