"""The API keys of a team."""

from django.urls import path

from portal.keys import views

urlpatterns = [
    path("settings/apikeys", views.apikeys, name="apikeys"),
    path("settings/apikeys/new", views.new_key, name="new_key"),
    path("settings/apikeys/<int:key_id>", views.key, name="key"),
    path("settings/apikeys/<int:key_id>/edit", views.edit_key, name="edit_key"),
    path("settings/apikeys/<int:key_id>/rotate", views.rotate_key, name="rotate_key"),
    path("settings/apikeys/<int:key_id>/guard", views.guard_key, name="guard_key"),
    path("settings/apikeys/<int:key_id>/freeze", views.freeze_key, name="freeze_key"),
    path("settings/apikeys/<int:key_id>/unfreeze", views.unfreeze_key, name="unfreeze_key"),
    path("settings/apikeys/<int:key_id>/revoke", views.revoke_key, name="revoke_key"),
]
