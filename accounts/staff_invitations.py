"""Invitations to become staff with one of the roles: created, withdrawn, accepted.

They work as invitations to a team do: accepting takes both the token, which is in the email alone,
and a session of the address that it was sent to, which must be verified.
"""

from allauth.account.models import EmailAddress
from django.contrib.auth.models import Group
from django.db import IntegrityError, transaction
from django.db.models import Q
from django.utils import timezone

from accounts.errors import (
    AlreadyInvitedError,
    AlreadyMemberError,
    InvitationClosedError,
    InvitationMismatchError,
    NotAllowedError,
)
from accounts.invitations import LIFETIME, new_token, token_digest
from accounts.models import StaffInvitation, User
from accounts.staff_actions import log_for_staff

PERMISSION = "accounts.invite_staff"
SECOND_PERSON_MISSING = (
    "Another member of staff must confirm what you requested, but no one whom you invited, or who "
    "invited you."
)


def roles_offered_by(user: User) -> list[Group]:
    """Return the roles that the user may invite to, by name: those with no permission they lack.

    Otherwise the permission would let its holder gain others, under another address.
    """
    if not (user.is_active and user.is_staff and user.has_perm(PERMISSION)):
        return []
    held = user.get_all_permissions()
    groups = Group.objects.prefetch_related("permissions__content_type").order_by("name")
    return [group for group in groups if _permissions_of(group) <= held]


def is_second_person(user: User, requester_id: int | None) -> bool:
    """Return whether the user may confirm what another member of staff requested.

    One who invited the other may be the same person under another address.
    """
    pairs = StaffInvitation.objects.filter(accepted_at__isnull=False).filter(
        Q(invited_by=user, accepted_by=requester_id) | Q(invited_by=requester_id, accepted_by=user)
    )
    return requester_id != user.pk and (requester_id is None or not pairs.exists())


def invite(staff: User, email: str, role: Group) -> tuple[StaffInvitation, str]:
    """Create an invitation and return it with its token, which is stored nowhere.

    It replaces an expired one of the same address. Raise NotAllowedError, AlreadyMemberError and
    AlreadyInvitedError.
    """
    email, now = email.strip().lower(), timezone.now()
    if role not in roles_offered_by(staff):
        raise NotAllowedError(f"You can't invite anyone as {role}.")
    if User.objects.filter(email=email, is_staff=True).exists():
        raise AlreadyMemberError(f"{email} is staff already.")
    token = new_token()
    known = StaffInvitation.objects.filter(
        email=email, accepted_at__isnull=True, revoked_at__isnull=True
    )
    try:
        with transaction.atomic():
            known.filter(expires_at__lte=now).update(revoked_at=now)
            invitation = StaffInvitation.objects.create(
                email=email,
                role=role,
                digest=token_digest(token),
                invited_by=staff,
                expires_at=now + LIFETIME,
            )
            log_for_staff(staff, invitation, "Invited.")
    except IntegrityError:
        text = f"{email} is already invited. Withdraw that invitation first."
        raise AlreadyInvitedError(text) from None
    return invitation, token


def withdraw(staff: User, invitation_id: int) -> StaffInvitation:
    """End an invitation and return it. Raise InvitationClosedError for one that has ended."""
    with transaction.atomic():
        found = StaffInvitation.objects.select_for_update(of=("self",)).select_related("role")
        pending = found.filter(accepted_at__isnull=True, revoked_at__isnull=True)
        invitation = pending.filter(pk=invitation_id).first()
        if invitation is None:
            raise InvitationClosedError("The invitation was accepted or withdrawn already.")
        invitation.revoked_at = timezone.now()
        invitation.save(update_fields=["revoked_at"])
        log_for_staff(staff, invitation, "Withdrawn.")
    return invitation


def find(token: str) -> StaffInvitation | None:
    """Return the token's invitation, open or not; None for an unknown token."""
    rows = StaffInvitation.objects.select_related("role", "invited_by")
    return rows.filter(digest=token_digest(token)).first()


def is_open(invitation: StaffInvitation) -> bool:
    """Return whether the invitation can be accepted now: its inviter may still invite to the role.

    An invitation outlives neither its inviter's permission nor a role that was given more since.
    """
    inviter = invitation.invited_by
    if invitation.state != "pending" or inviter is None:
        return False
    return invitation.role in roles_offered_by(inviter)


def is_for(invitation: StaffInvitation, user: User) -> bool:
    """Return whether the user verified the invitation's address."""
    addresses = EmailAddress.objects.filter(user=user, verified=True)
    return addresses.filter(email__iexact=invitation.email).exists()


def accept(invitation: StaffInvitation, user: User) -> None:
    """Make the user staff with the invitation's role alone, whatever they had before.

    Raise InvitationMismatchError, InvitationClosedError, and AlreadyMemberError for staff, whose
    roles only superusers change.
    """
    with transaction.atomic():
        rows = StaffInvitation.objects.select_for_update(of=("self",))
        found = rows.select_related("role", "invited_by").get(pk=invitation.pk)
        user = User.objects.select_for_update(no_key=True).get(pk=user.pk)
        if not is_for(found, user):
            raise InvitationMismatchError("This invitation is for another address.")
        if not is_open(found):
            raise InvitationClosedError("This invitation is no longer open.")
        if user.is_staff or user.is_superuser:
            raise AlreadyMemberError("You are staff already. A superuser can change your role.")
        found.accepted_at, found.accepted_by = timezone.now(), user
        found.save(update_fields=["accepted_at", "accepted_by"])
        user.is_staff = True
        user.save(update_fields=["is_staff"])
        user.groups.set([found.role])
        user.user_permissions.clear()
        log_for_staff(user, found, "Accepted.")


def _permissions_of(role: Group) -> set[str]:
    return {f"{each.content_type.app_label}.{each.codename}" for each in role.permissions.all()}
