"""The console's pages. They are mounted at `/admin/`, before the admin's own."""

from django.urls import path

from portal.console import staff, statements, views
from portal.console.brand import views as brand

app_name = "console"
urlpatterns = [
    path("margins", views.margins, name="margins"),
    path("margins.csv", views.margins_csv, name="margins_csv"),
    path("margins/losses", views.losing_requests, name="losing_requests"),
    path("staff", staff.invitations, name="staff_invitations"),
    path("staff/<int:invitation_id>/withdraw", staff.withdraw, name="withdraw_staff_invitation"),
    path("join/<str:token>", staff.join, name="join"),
    path("staff-log.csv", staff.log_csv, name="staff_log_csv"),
    path("search", views.search, name="search"),
    path("customers/<int:team_id>", views.customer, name="customer"),
    path("customers/<int:team_id>/<slug:name>", views.action, name="action"),
    # In place of the admin's own page of the row.
    path("billing/usagerecord/<uuid:request_id>/change/", views.request_charge, name="request"),
    path("reconciliation", statements.index, name="statements"),
    path("reconciliation/<uuid:statement_id>", statements.statement, name="statement"),
    path("reconciliation/<uuid:statement_id>/lines", statements.lines, name="statement_lines"),
    path("reconciliation/<uuid:statement_id>/columns", statements.columns, name="columns"),
    path("reconciliation/<uuid:statement_id>/compare", statements.compare, name="compare"),
    path("reconciliation/<uuid:statement_id>/confirm", statements.confirm, name="confirm"),
    path("reconciliation/<uuid:statement_id>/discard", statements.discard, name="discard"),
    path("reconciliation/usage/<int:source_id>", statements.usage, name="usage"),
    path("reconciliation/usage/<int:source_id>/read", statements.read_usage, name="read_usage"),
    path("brand", brand.edit, name="brand"),
    path("brand/emails/<slug:name>", brand.email, name="brand_email"),
    path("brand/preview", brand.preview, name="brand_preview"),
    path("brand/preview/<slug:page>", brand.preview_page, name="brand_preview_page"),
    path("brand/draft/<slug:digest>/<slug:kind>", brand.draft_file, name="brand_draft_file"),
    *(
        path(f"brand/{action}", brand.change, {"action": action}, name=f"brand_{action}")
        for action in ("publish", "discard", "reset")
    ),
    path("view-as/end", views.end_view_as, name="end_view_as"),
]
