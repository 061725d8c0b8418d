"""Search over pages, keys, models and requests (Ctrl-K)."""

from django.urls import path

from portal.find import views

urlpatterns = [path("find", views.find, name="find")]
