"""The portal's own tables: chat keys, and conversations that members chose to store.

Conversations are private to the member who had them. Staff have no page for them, on purpose.
"""

import uuid

from django.db import models
from django.utils import timezone

from accounts.models import ApiKey, Team, User


class ChatKey(models.Model):
    """Marks an API key as one that the site made for a browser session (portal/chat/queries.py)."""

    key = models.OneToOneField(
        ApiKey, on_delete=models.CASCADE, primary_key=True, related_name="chat_key"
    )
    browser = models.CharField(
        max_length=32, db_index=True, help_text="A random name of the browser's session."
    )

    def __str__(self) -> str:
        return f"{self.key_id} for {self.browser}"


class ChatPreference(models.Model):
    """A member's choice for their chats. Without a row nothing is stored."""

    user = models.OneToOneField(
        User, on_delete=models.CASCADE, primary_key=True, related_name="chat_preference"
    )
    stores_conversations = models.BooleanField(default=False)

    def __str__(self) -> str:
        return f"{self.user_id}: {'stores' if self.stores_conversations else 'does not store'}"


class Conversation(models.Model):
    """A member's conversation with models, on the credits of a team."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="conversations")
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="conversations")
    title = models.CharField(max_length=120)
    model = models.CharField(max_length=120)
    settings = models.JSONField(default=dict, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)
    updated_at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [
            models.Index(fields=["user", "team", "-updated_at"], name="conversation_by_member")
        ]

    def __str__(self) -> str:
        return str(self.id)


class Message(models.Model):
    """A turn of a conversation. What it cost is in the books, under `request_id`."""

    class Role(models.TextChoices):
        """The author of a message."""

        USER = "user"
        ASSISTANT = "assistant"

    conversation = models.ForeignKey(
        Conversation, on_delete=models.CASCADE, related_name="messages", db_index=False
    )
    position = models.PositiveIntegerField(help_text="Its place in the conversation, from 0.")
    role = models.CharField(max_length=16, choices=Role)
    content = models.TextField(blank=True)
    reasoning = models.TextField(blank=True)
    model = models.CharField(max_length=120, blank=True)
    request_id = models.UUIDField(null=True, blank=True)
    finish_reason = models.CharField(max_length=40, blank=True)
    created_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["conversation", "position"], name="message_place_once")
        ]

    def __str__(self) -> str:
        return f"{self.conversation_id}/{self.position}"
