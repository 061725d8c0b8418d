"""The management API's paths, below `/api/manage/v1/`."""

from django.urls import path, re_path

from api.manage import views

urlpatterns = [
    path("keys", views.KeysView.as_view(), name="manage-keys"),
    path("keys/<int:key_id>", views.KeyView.as_view(), name="manage-key"),
    path("keys/<int:key_id>/rotate", views.KeyRotationView.as_view(), name="manage-key-rotate"),
    path("team", views.TeamView.as_view(), name="manage-team"),
    path("usage", views.UsageView.as_view(), name="manage-usage"),
    path("receipts/<str:request_id>", views.ReceiptView.as_view(), name="manage-receipt"),
    path("day-roots", views.DayRootsView.as_view(), name="manage-day-roots"),
    path("day-roots/<str:day>", views.DayRootView.as_view(), name="manage-day-root"),
    re_path(r"", views.UnknownView.as_view()),
]
