"""Invitations to a team: created, sent again, withdrawn, accepted.

A token is 256 random bits, so its plain SHA-256 reveals nothing. Accepting takes both the token and
a session of the address that it was sent to.
"""

import hashlib
import secrets
from datetime import timedelta

from allauth.account.models import EmailAddress
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from accounts import audit
from accounts.access import Actor, membership_in
from accounts.errors import (
    AlreadyInvitedError,
    AlreadyMemberError,
    InvitationClosedError,
    InvitationMismatchError,
    NotAllowedError,
)
from accounts.members import lock_team, role_name
from accounts.models import Invitation, Membership, Team, User

LIFETIME = timedelta(days=7)


def invite(
    actor: Actor, email: str, role: str, *, ip_address: str | None = None
) -> tuple[Invitation, str]:
    """Create an invitation and return it with its token, which is stored nowhere.

    It replaces an expired one of the same address. Raise NotAllowedError, AlreadyMemberError and
    AlreadyInvitedError.
    """
    email = email.strip().lower()
    now = timezone.now()
    with transaction.atomic():
        actor = lock_team(actor)
        if role not in actor.grantable_roles:
            text = _("Your role doesn't allow inviting someone as {role}.")
            raise NotAllowedError(text.format(role=role_name(role)))
        if actor.team.memberships.filter(user__email=email).exists():
            raise AlreadyMemberError(_("{email} is already in the team.").format(email=email))
        pending = _pending(actor.team).filter(email=email)
        if pending.filter(expires_at__gt=now).exists():
            text = _("{email} is already invited. Resend the invitation.")
            raise AlreadyInvitedError(text.format(email=email))
        pending.update(revoked_at=now)
        token = new_token()
        invitation = Invitation.objects.create(
            team=actor.team,
            email=email,
            role=role,
            digest=token_digest(token),
            invited_by=actor.user,
            expires_at=now + LIFETIME,
        )
        detail = {"role": role}
        audit.record(actor, "member.invited", email, detail=detail, ip_address=ip_address)
    return invitation, token


def renew(actor: Actor, invitation: Invitation) -> tuple[Invitation, str]:
    """Give the invitation a new token and lifetime; the link sent before stops working.

    Return both. Raise NotAllowedError, and InvitationClosedError for one that has ended.
    """
    with transaction.atomic():
        _actor, invitation = _lock(actor, invitation)
        return _renewed(invitation)


def renew_by_staff(team: Team, invitation_id: int) -> tuple[Invitation, str]:
    """Renew one of the team's invitations for staff, as `renew` does, and return both.

    Raise InvitationClosedError. The caller checks the permission and writes the audit log.
    """
    with transaction.atomic():
        found = _pending(team).select_for_update(of=("self",)).filter(pk=invitation_id)
        return _renewed(_still_pending(found))


def withdraw(actor: Actor, invitation: Invitation, *, ip_address: str | None = None) -> None:
    """End the invitation. Raise NotAllowedError, and InvitationClosedError for an ended one."""
    with transaction.atomic():
        actor, invitation = _lock(actor, invitation)
        invitation.revoked_at = timezone.now()
        invitation.save(update_fields=["revoked_at"])
        audit.record(actor, "invitation.withdrawn", invitation.email, ip_address=ip_address)


def find(token: str) -> Invitation | None:
    """Return the token's invitation, open or not, with its team; None for an unknown token."""
    rows = Invitation.objects.select_related("team", "invited_by")
    return rows.filter(digest=token_digest(token)).first()


def open_invitations(team: Team) -> list[Invitation]:
    """Return the team's invitations that may still be accepted or renewed, newest first."""
    return list(_pending(team).select_related("invited_by").order_by("-id"))


def is_open(invitation: Invitation) -> bool:
    """Return whether the invitation can be accepted now."""
    has_ended = invitation.accepted_at is not None or invitation.revoked_at is not None
    return not has_ended and invitation.expires_at > timezone.now()


def is_for(invitation: Invitation, user: User) -> bool:
    """Return whether the invitation's address is the user's, or another that they verified."""
    if user.email.lower() == invitation.email.lower():
        return True
    addresses = EmailAddress.objects.filter(user=user, verified=True)
    return addresses.filter(email__iexact=invitation.email).exists()


def accept(invitation: Invitation, user: User, *, ip_address: str | None = None) -> Membership:
    """Make the user a member with the role offered, once, and return the membership.

    A member keeps their role. Raise InvitationMismatchError and
    InvitationClosedError.
    """
    if not is_for(invitation, user):
        text = _("This invitation is for {email}; you are signed in as {own}.")
        raise InvitationMismatchError(text.format(email=invitation.email, own=user.email))
    with transaction.atomic():
        team = Team.objects.select_for_update(no_key=True).get(pk=invitation.team_id)
        invitation.refresh_from_db()
        if not is_open(invitation):
            raise InvitationClosedError(_("This invitation is no longer open. Ask for a new one."))
        invitation.accepted_at = timezone.now()
        invitation.save(update_fields=["accepted_at"])
        known = membership_in(user, team)
        if known is not None:
            return known
        member = Membership.objects.create(user=user, team=team, role=invitation.role)
        actor = Actor(team=team, user=user, role=member.role)
        detail = {"role": member.role}
        audit.record(actor, "member.joined", user.email, detail=detail, ip_address=ip_address)
    return member


def _renewed(invitation: Invitation) -> tuple[Invitation, str]:
    token = new_token()
    invitation.digest = token_digest(token)
    invitation.expires_at = timezone.now() + LIFETIME
    invitation.save(update_fields=["digest", "expires_at"])
    return invitation, token


def _still_pending(found: QuerySet[Invitation]) -> Invitation:
    invitation = found.first()
    if invitation is None:
        raise InvitationClosedError(_("The invitation has already been accepted or withdrawn."))
    return invitation


def _lock(actor: Actor, invitation: Invitation) -> tuple[Actor, Invitation]:
    """Lock the team, and return actor and invitation as they are now."""
    actor = lock_team(actor)
    if not actor.may_handle(invitation):
        raise NotAllowedError(_("Your role doesn't allow this."))
    return actor, _still_pending(_pending(actor.team).filter(pk=invitation.pk))


def _pending(team: Team) -> QuerySet[Invitation]:
    """Return the invitations neither accepted nor withdrawn; some may have expired."""
    return Invitation.objects.filter(team=team, accepted_at__isnull=True, revoked_at__isnull=True)


def new_token() -> str:
    """Return a new token for a link in an email."""
    return secrets.token_urlsafe(32)


def token_digest(token: str) -> bytes:
    """Return what is stored of a token."""
    return hashlib.sha256(token.encode()).digest()
