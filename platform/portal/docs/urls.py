"""How to use the API."""

from django.urls import path

from portal.docs import views

urlpatterns = [
    path("docs/models", views.models, name="models"),
    path("docs", views.docs, name="docs"),
]
