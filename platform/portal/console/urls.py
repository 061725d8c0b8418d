"""The console's pages. They are mounted at `/admin/`, before the admin's own."""

from django.urls import path

from portal.console import views

app_name = "console"
urlpatterns = [
    path("margins", views.margins, name="margins"),
    path("margins.csv", views.margins_csv, name="margins_csv"),
    path("margins/losses", views.losing_requests, name="losing_requests"),
    path("search", views.search, name="search"),
    path("customers/<int:team_id>", views.customer, name="customer"),
    path("customers/<int:team_id>/<slug:name>", views.action, name="action"),
    # In place of the admin's own page of the row.
    path("billing/usagerecord/<uuid:request_id>/change/", views.request_charge, name="request"),
    path("view-as/end", views.end_view_as, name="end_view_as"),
]
