"""Pages that allauth lacks: ending a session, proof of a mailbox, and referral links."""

from django.urls import path

from portal.sign_in import views

urlpatterns = [
    path("accounts/sessions/<int:session_id>/end", views.end_session, name="end_session"),
    path("accounts/2fa/confirm-email", views.confirm_mailbox, name="confirm_mailbox"),
    path("r/<slug:code>", views.referral, name="referral"),
]
