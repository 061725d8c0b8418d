"""Receivers that revoke chat keys and delete conversations: on sign-out on any device, on a changed
password, on leaving a team, on account deletion.
"""

from allauth.account.signals import password_changed, password_reset, password_set
from allauth.usersessions.models import UserSession
from django.contrib.auth.models import AnonymousUser
from django.contrib.auth.signals import user_logged_out
from django.db.models.signals import post_delete
from django.dispatch import receiver
from django.http import HttpRequest

from accounts.deletion import user_deleted
from accounts.models import Membership, User
from portal.chat import queries
from portal.models import ChatPreference, Conversation


@receiver(user_logged_out, dispatch_uid="chat_signed_out")
def _on_signed_out(
    sender: object, request: HttpRequest | None, user: User | AnonymousUser | None, **_: object
) -> None:
    if request is not None:
        queries.revoke_of_session(request.session)


@receiver((password_changed, password_reset, password_set), dispatch_uid="chat_password")
def _on_password_changed(sender: object, user: User, **_: object) -> None:
    queries.revoke_of_user(user.pk)


@receiver(post_delete, sender=UserSession, dispatch_uid="chat_session_ended")
def _on_session_ended(sender: object, instance: UserSession, **_: object) -> None:
    """Revoke all of the user's chat keys, since the ended session's own key is unknown.

    The pages of their other sessions request new keys automatically.
    """
    queries.revoke_of_user(instance.user_id)


@receiver(post_delete, sender=Membership, dispatch_uid="chat_left_team")
def _on_left_team(sender: object, instance: Membership, **_: object) -> None:
    queries.revoke_of_member(instance.user_id, instance.team_id)


@receiver(user_deleted, dispatch_uid="chat_forgotten")
def _on_user_deleted(sender: object, user: User, **_: object) -> None:
    Conversation.objects.filter(user=user).delete()
    ChatPreference.objects.filter(user=user).delete()
