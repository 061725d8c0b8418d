"""What was used, and what each request cost."""

from django.urls import path

from portal.usage import views

urlpatterns = [
    path("usage", views.usage, name="usage"),
]
