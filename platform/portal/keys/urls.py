"""The API keys of a team."""

from django.urls import path

from portal.keys import views

urlpatterns = [
    path("settings/apikeys", views.apikeys, name="apikeys"),
]
