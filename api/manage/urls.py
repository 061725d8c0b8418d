"""The management API's paths, below `/api/manage/v1/`."""

from django.urls import path, re_path

from api.manage import views

urlpatterns = [
    path("keys", views.KeysView.as_view(), name="manage-keys"),
    path("keys/<int:key_id>", views.KeyView.as_view(), name="manage-key"),
    path("keys/<int:key_id>/rotate", views.KeyRotationView.as_view(), name="manage-key-rotate"),
    path("team", views.TeamView.as_view(), name="manage-team"),
    path("usage", views.UsageView.as_view(), name="manage-usage"),
    re_path(r"", views.UnknownView.as_view()),
]
