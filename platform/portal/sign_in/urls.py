"""Pages that allauth lacks: ending a session, and referral links."""

from django.urls import path

from portal.sign_in import views

urlpatterns = [
    path("accounts/sessions/<int:session_id>/end", views.end_session, name="end_session"),
    path("r/<slug:code>", views.referral, name="referral"),
]
