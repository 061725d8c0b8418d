"""Conversations with the models."""

from django.urls import path

from portal.chat import views

urlpatterns = [
    path("chat", views.chat, name="chat"),
]
