"""Every transfer between two balances."""

from django.urls import path

from portal.statement import views

urlpatterns = [
    path("statement", views.statement, name="statement"),
    path("statement.csv", views.statement_csv, name="statement_csv"),
]
