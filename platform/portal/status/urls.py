"""The status page, its feed and its subscriptions."""

from django.urls import path

from portal.status import views

urlpatterns = [
    path("status", views.status, name="status"),
    path("status/feed.xml", views.feed, name="status_feed"),
    path("status/subscribe", views.subscribe, name="status_subscribe"),
    path("status/confirm/<str:token>", views.confirm, name="status_confirm"),
    path("status/unsubscribe/<str:token>", views.unsubscribe, name="status_unsubscribe"),
]
