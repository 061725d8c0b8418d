"""Whether the models answer, now and these thirty days."""

from django.urls import path

from portal.status import views

urlpatterns = [
    path("status", views.status, name="status"),
]
