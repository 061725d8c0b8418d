"""The portal's own tables: chat keys, what members chose to store, and the brand.

Conversations and preferences are private to their member. Staff have no page for them, on purpose.
The brand's page is `/admin/brand` (portal/console/brand).
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


class UsagePreference(models.Model):
    """A member's choices for the usage page of a team. Without a row there are none."""

    user = models.ForeignKey(
        User, on_delete=models.CASCADE, related_name="usage_preferences", db_index=False
    )
    team = models.ForeignKey(Team, on_delete=models.CASCADE, related_name="+")
    filters = models.JSONField(
        default=list, db_default=[], help_text="Each a name and the query of the page."
    )
    hidden_columns = models.CharField(max_length=100, default="", db_default="", blank=True)

    class Meta:
        default_permissions = ()
        constraints = [
            models.UniqueConstraint(fields=["user", "team"], name="usage_preference_once")
        ]

    def __str__(self) -> str:
        return f"{self.user_id} in {self.team_id}"


class BrandFields(models.Model):
    """The look and the words that an operator can set. An empty field stands for what ships."""

    logo = models.BinaryField(default=b"", db_default=b"", blank=True)
    logo_type = models.CharField(max_length=16, default="", db_default="", blank=True)
    accent_light = models.CharField(
        "accent color, light", max_length=7, default="", db_default="", blank=True
    )
    accent_dark = models.CharField(
        "accent color, dark", max_length=7, default="", db_default="", blank=True
    )
    headline = models.CharField(max_length=120, default="", db_default="", blank=True)
    lead = models.TextField(max_length=500, default="", db_default="", blank=True)
    points = models.TextField(max_length=800, default="", db_default="", blank=True)
    terms_url = models.CharField(max_length=300, default="", db_default="", blank=True)
    terms_text = models.TextField(default="", db_default="", blank=True)
    privacy_url = models.CharField(max_length=300, default="", db_default="", blank=True)
    privacy_text = models.TextField(default="", db_default="", blank=True)
    imprint_url = models.CharField(max_length=300, default="", db_default="", blank=True)
    imprint_text = models.TextField(default="", db_default="", blank=True)
    email_opening = models.CharField(max_length=200, default="", db_default="", blank=True)
    email_closing = models.TextField(max_length=600, default="", db_default="", blank=True)
    email_signature = models.TextField(max_length=600, default="", db_default="", blank=True)
    email_texts = models.JSONField(default=dict, db_default={}, blank=True)

    class Meta:
        abstract = True


class Brand(BrandFields):
    """The one row of the published brand. Name, tagline and support address are the service's."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    digest = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        help_text="Of all that is published, as in the service's row. Empty: what ships.",
    )
    terms_version = models.CharField(
        max_length=20,
        default="",
        db_default="",
        blank=True,
        help_text="What sign-ups accept. Empty: TERMS_VERSION, of the texts that ship.",
    )
    published_at = models.DateTimeField(default=timezone.now)

    class Meta:
        default_permissions = ("change",)
        constraints = [models.CheckConstraint(condition=models.Q(id=1), name="brand_one_row")]

    def __str__(self) -> str:
        return "Brand"


class BrandDraft(BrandFields):
    """A member of staff's draft of the brand, which nobody else sees."""

    user = models.OneToOneField(
        User, on_delete=models.CASCADE, primary_key=True, related_name="brand_draft"
    )
    name = models.CharField(max_length=80)
    tagline = models.CharField(max_length=200, default="", db_default="", blank=True)
    contact_email = models.EmailField(default="", db_default="", blank=True)
    based_on = models.CharField(
        max_length=64,
        default="",
        db_default="",
        blank=True,
        help_text="The digest of the brand that it was compared with.",
    )
    updated_at = models.DateTimeField(auto_now=True)

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"draft of {self.user_id}"
