"""Every transfer between two balances."""

from django.urls import path

from portal.statement import views

urlpatterns = [
    path("statement", views.statement, name="statement"),
]
