"""Conversations with the models.

`chat/completions` and `chat/models` belong to the API (api/surfaces.py) and never come here.
"""

from django.urls import path

from portal.chat import views

urlpatterns = [
    path("chat", views.chat, name="chat"),
    path("chat/<uuid:conversation_id>", views.chat, name="chat_conversation"),
    path("chat/key", views.key, name="chat_key"),
    path("chat/storage", views.storage, name="chat_storage"),
    path("chat/charges/<uuid:request_id>", views.charge, name="chat_charge"),
    path("chat/conversations", views.conversation_list, name="chat_conversations"),
    path(
        "chat/conversations/<uuid:conversation_id>",
        views.conversation,
        name="chat_conversation_json",
    ),
    path(
        "chat/conversations/<uuid:conversation_id>/messages",
        views.message_list,
        name="chat_messages",
    ),
]
