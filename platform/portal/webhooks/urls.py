"""A team's webhook endpoints and what was sent to them."""

from django.urls import path

from portal.webhooks import views

_ENDPOINT = "team/webhooks/<int:endpoint_id>"
_DELIVERY = "team/webhooks/deliveries/<int:delivery_id>"

urlpatterns = [
    path("team/webhooks", views.webhooks, name="webhooks"),
    path("team/webhooks/new", views.new_webhook, name="new_webhook"),
    path(_ENDPOINT, views.webhook, name="webhook"),
    path(f"{_ENDPOINT}/edit", views.edit_webhook, name="edit_webhook"),
    path(f"{_ENDPOINT}/rotate", views.rotate_webhook, name="rotate_webhook"),
    path(f"{_ENDPOINT}/test", views.test_webhook, name="test_webhook"),
    path(f"{_ENDPOINT}/disable", views.disable_webhook, name="disable_webhook"),
    path(f"{_ENDPOINT}/enable", views.enable_webhook, name="enable_webhook"),
    path(f"{_ENDPOINT}/delete", views.delete_webhook, name="delete_webhook"),
    path(_DELIVERY, views.webhook_delivery, name="webhook_delivery"),
    path(f"{_DELIVERY}/replay", views.replay_delivery, name="replay_delivery"),
]
