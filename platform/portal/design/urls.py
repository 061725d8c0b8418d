"""The design system, for staff."""

from django.urls import path

from portal.design import views

urlpatterns = [path("design", views.design, name="design")]
