"""Every endpoint, as a form."""

from django.urls import path

from portal.playground import views

urlpatterns = [
    path("playground", views.playground, name="playground"),
]
