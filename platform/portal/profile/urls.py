"""What a user may change of themselves."""

from django.urls import path

from portal.profile import views

urlpatterns = [
    path("settings", views.profile, name="profile"),
]
