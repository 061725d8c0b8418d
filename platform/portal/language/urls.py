"""The switch of the language."""

from django.urls import path

from portal.language import views

urlpatterns = [path("language", views.switch, name="switch_language")]
