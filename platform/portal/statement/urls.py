"""Every transfer between two balances."""

from django.urls import path

from portal.statement import views

urlpatterns = [
    path("statement", views.statement, name="statement"),
    path("statement.csv", views.statement_csv, name="statement_csv"),
    path("statement/days", views.day_roots, name="day_roots"),
    path("statement/days/<slug:day>", views.day_root, name="day_root"),
]
