"""Usage, and the cost of each request."""

from django.urls import path

from portal.usage import views

urlpatterns = [
    path("usage", views.usage, name="usage"),
    path("usage.csv", views.usage_csv, name="usage_csv"),
    path("usage/filters", views.saved_filters, name="saved_filters"),
    path("usage/columns", views.columns, name="usage_columns"),
    path("usage/sessions", views.sessions, name="sessions"),
    path("usage/sessions/<uuid:request_id>", views.session_detail, name="session"),
    path("usage/requests/<uuid:request_id>", views.request_detail, name="request"),
    path("usage/requests/<uuid:request_id>/receipt", views.receipt, name="request_receipt"),
]
