"""What becomes of chats when their member's account is deleted."""

from django.db.models.functions import Now

from accounts import api_keys
from accounts.models import ApiKey, User
from portal.chat.keys import only_chat_keys
from portal.models import ChatPreference, Conversation


def forget_chats(sender: object, user: User, **_: object) -> None:
    """Deletes what is stored of the user's chats and ends their keys (of `user_deleted`)."""
    Conversation.objects.filter(user=user).delete()
    ChatPreference.objects.filter(user=user).delete()
    keys = api_keys.active(only_chat_keys(ApiKey.objects.filter(created_by=user)))
    ApiKey.objects.filter(pk__in=keys.values("pk")).update(revoked_at=Now())
