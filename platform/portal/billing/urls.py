"""Credits: what is left, what they are bought with, and every receipt."""

from django.urls import path

from portal.billing import views

urlpatterns = [
    path("billing", views.billing, name="billing"),
]
