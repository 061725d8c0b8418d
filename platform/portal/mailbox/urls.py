"""The letters of `make run`."""

from django.urls import path

from portal.mailbox import views

urlpatterns = [
    path("dev/mail", views.mailbox, name="mailbox"),
    path("dev/mail/<slug:letter_id>", views.letter, name="letter"),
    path("dev/mail/<slug:letter_id>/html", views.letter_html, name="letter_html"),
]
