"""Members, invitations and the audit log."""

from django.urls import path

from portal.team import views

urlpatterns = [
    path("team", views.team, name="team"),
    path("team/switch", views.switch_team, name="switch_team"),
    path("team/new", views.new_team, name="new_team"),
    path("team/settings", views.team_settings, name="team_settings"),
    path("team/budgets", views.team_budgets, name="team_budgets"),
    path("team/budgets/<int:rule_id>/remove", views.remove_budget, name="remove_budget"),
    path("team/leave", views.leave_team, name="leave_team"),
    path("team/audit", views.audit_log, name="audit_log"),
    path("team/members/<int:member_id>", views.member, name="member"),
    path("team/members/<int:member_id>/remove", views.remove_member, name="remove_member"),
    path("team/invitations", views.invite, name="invite"),
    path(
        "team/invitations/<int:invitation_id>/resend",
        views.resend,
        name="resend_invitation",
    ),
    path(
        "team/invitations/<int:invitation_id>/withdraw",
        views.withdraw,
        name="withdraw_invitation",
    ),
    path("invitations/<str:token>", views.invitation, name="invitation"),
]
