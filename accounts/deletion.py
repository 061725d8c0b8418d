"""Deletion of a user: personal data goes, the books stay.

The user's row is kept without anything personal in it, because keys, transfers and other teams'
audit logs refer to it.
"""

from dataclasses import dataclass

from allauth.account.models import EmailAddress
from allauth.mfa.models import Authenticator
from allauth.socialaccount.models import SocialAccount
from django.db import transaction
from django.db.models import Count, Q
from django.db.models.functions import Now
from django.dispatch import Signal
from django.utils.translation import gettext as _

from accounts import audit
from accounts.access import Actor
from accounts.errors import SharedTeamError
from accounts.models import (
    ApiKey,
    DeviceSignIn,
    Invitation,
    Membership,
    NotificationSettings,
    Role,
    SentNotice,
    StaffInvitation,
    Team,
    User,
    WebhookEndpoint,
)
from accounts.oauth import revoke_approved_keys
from accounts.sessions import end_sessions

# Sent with `user` in the transaction of a deletion, for other apps to delete personal data.
user_deleted = Signal()


@dataclass(frozen=True)
class Consequences:
    """The effect of deleting a user on teams.

    `blocking` teams would lose their only owner but keep members; `ending` ones have no one else.
    """

    blocking: list[Team]
    ending: list[Team]


def consequences_for(user: User) -> Consequences:
    """Return the effect of deleting the user on their teams, in two queries."""
    teams = Team.objects.filter(memberships__user=user).values("pk")
    counted = Team.objects.filter(pk__in=teams).annotate(
        others=Count("memberships", filter=~Q(memberships__user=user)),
        other_owners=Count(
            "memberships", filter=Q(memberships__role=Role.OWNER) & ~Q(memberships__user=user)
        ),
    )
    owned = set(
        Membership.objects.filter(user=user, role=Role.OWNER).values_list("team_id", flat=True)
    )
    found = list(counted.order_by("-is_personal", "id"))
    return Consequences(
        blocking=[
            team for team in found if team.pk in owned and team.others and not team.other_owners
        ],
        ending=[team for team in found if not team.others],
    )


def delete_user(user: User, *, ip_address: str | None = None) -> None:
    """Anonymize and deactivate the user, and revoke the keys of teams left empty.

    Credit accounts, transfers and usage stay as they are. Raise SharedTeamError where a team with
    other members has no other owner; nothing is changed then.
    """
    with transaction.atomic():
        memberships = Membership.objects.filter(user=user)
        mine = memberships.values("team_id")
        # In one order for all, so that two deletions never deadlock.
        locked = Team.objects.select_for_update(no_key=True).filter(pk__in=mine).order_by("pk")
        teams = list(locked)
        consequences = consequences_for(user)
        if consequences.blocking:
            names = ", ".join(team.name for team in consequences.blocking)
            text = _("You are the only owner of {names}, which has other members.")
            raise SharedTeamError(text.format(names=names))
        _log_departure(user, teams, ip_address)
        # Before the keys, which is the order in which a renewal locks them.
        DeviceSignIn.objects.filter(key__created_by=user).delete()
        _close(consequences.ending)
        for team in teams:
            revoke_approved_keys(team, user)
        memberships.delete()
        user_deleted.send(sender=User, user=user)
        _anonymize(user)


def _log_departure(user: User, teams: list[Team], ip_address: str | None) -> None:
    roles = dict(Membership.objects.filter(user=user).values_list("team_id", "role"))
    for team in teams:
        actor = Actor(team=team, user=user, role=roles[team.pk])
        audit.record(actor, "member.left", user.email, ip_address=ip_address)


def _close(teams: list[Team]) -> None:
    """Revoke the keys and invitations of teams without members, and delete their webhooks."""
    ApiKey.objects.filter(team__in=teams, revoked_at__isnull=True).update(revoked_at=Now())
    WebhookEndpoint.objects.filter(team__in=teams).delete()
    unended = Invitation.objects.filter(team__in=teams, accepted_at__isnull=True)
    unended.filter(revoked_at__isnull=True).update(revoked_at=Now())
    for team in teams:
        if team.is_personal:  # named after its user
            team.name, team.slug = "Deleted", f"deleted-team-{team.pk}"
            team.save(update_fields=["name", "slug"])


def _anonymize(user: User) -> None:
    """Delete the user's personal data and every way to sign in."""
    end_sessions(user)
    for personal in (
        EmailAddress.objects.filter(user=user),
        Authenticator.objects.filter(user=user),
        SocialAccount.objects.filter(user=user),
        NotificationSettings.objects.filter(user=user),
        SentNotice.objects.filter(user=user),
        Invitation.objects.filter(email=user.email, accepted_at__isnull=False),
        StaffInvitation.objects.filter(accepted_by=user),
    ):
        personal.delete()
    user.groups.clear()
    user.user_permissions.clear()
    user.email = f"deleted-{user.pk}@invalid"
    user.name = ""
    user.is_active = user.is_staff = user.is_superuser = False
    user.set_unusable_password()
    user.save()
