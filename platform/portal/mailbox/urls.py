"""The emails of `make run`."""

from django.urls import path

from portal.mailbox import views

urlpatterns = [
    path("dev/mail", views.mailbox, name="mailbox"),
    path("dev/mail/<slug:email_id>", views.email, name="email"),
    path("dev/mail/<slug:email_id>/html", views.email_html, name="email_html"),
]
