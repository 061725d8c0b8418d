"""Actions on a team's members (change of role, removal, leaving) and on its name.

Each action locks the team's row first and then reads the roles again. So actions on one team run
one after another, each on the result of the one before, and a team keeps an owner in every race.
Keys belong to the team: they outlive their creator's membership, but those that the member approved
for a program (`accounts/oauth.py`) end with it.
"""

from dataclasses import replace

from django.db import transaction
from django.utils.translation import gettext as _

from accounts import audit
from accounts.access import Actor, membership_in
from accounts.errors import LastOwnerError, NoSuchMemberError, NotAllowedError
from accounts.models import Membership, Role, Team
from accounts.oauth import revoke_approved_keys


def change_role(
    actor: Actor, member: Membership, role: str, *, ip_address: str | None = None
) -> Membership:
    """Give the member another role and return the membership; do nothing if they have it.

    Raise NotAllowedError, NoSuchMemberError and LastOwnerError.
    """
    with transaction.atomic():
        actor = lock_team(actor)
        member = _find(actor, member)
        if not actor.may_change(member) or role not in actor.grantable_roles:
            text = _("Your role doesn't allow making this member {role}.")
            raise NotAllowedError(text.format(role=role_name(role)))
        before = member.role
        if before == role:
            return member
        if before == Role.OWNER:
            _require_another_owner(member)
        member.role = role
        member.save(update_fields=["role"])
        change = {"from": before, "to": role}
        audit.record(
            actor,
            "member.role_changed",
            member.user.email,
            detail=change,
            ip_address=ip_address,
        )
    return member


def remove_member(actor: Actor, member: Membership, *, ip_address: str | None = None) -> None:
    """Remove the member from the team; what they created stays.

    Raise NotAllowedError, NoSuchMemberError and LastOwnerError.
    """
    with transaction.atomic():
        actor = lock_team(actor)
        member = _find(actor, member)
        if not actor.may_change(member):
            raise NotAllowedError(_("Your role doesn't allow removing this member."))
        _end(actor, member, "member.removed", ip_address)


def leave_team(actor: Actor, *, ip_address: str | None = None) -> None:
    """Remove the actor from their team; what they created stays.

    Raise NotAllowedError for the actor's own personal team, and LastOwnerError.
    """
    with transaction.atomic():
        actor = lock_team(actor)
        if not actor.may_leave or actor.user is None:
            raise NotAllowedError(_("You can't leave your personal team."))
        member = membership_in(actor.user, actor.team)
        if member is not None:
            _end(actor, member, "member.left", ip_address)


def rename_team(actor: Actor, name: str, *, ip_address: str | None = None) -> Team:
    """Rename the team and return it; its slug stays. Raise NotAllowedError."""
    with transaction.atomic():
        actor = lock_team(actor)
        if not actor.may_rename_team:
            raise NotAllowedError(_("Your role doesn't allow renaming the team."))
        team, before = actor.team, actor.team.name
        if before != name:
            team.name = name
            team.save(update_fields=["name"])
            change = {"from": before, "to": name}
            audit.record(actor, "team.renamed", name, detail=change, ip_address=ip_address)
    return team


def lock_team(actor: Actor) -> Actor:
    """Lock the actor's team until the transaction ends; return the actor with the current role.

    Raise NotAllowedError for an actor who is no longer a
    member.
    """
    team = Team.objects.select_for_update(no_key=True).get(pk=actor.team.pk)
    membership = membership_in(actor.user, team) if actor.user is not None else None
    if membership is None:
        raise NotAllowedError(_("You are no longer a member of this team."))
    return replace(actor, team=team, role=membership.role)


def role_name(role: str) -> str:
    """Return a role as it stands within a sentence."""
    return str(Role(role).label).lower() if role in Role.values else role


def _find(actor: Actor, member: Membership) -> Membership:
    """Return the membership as it is now. Raise NoSuchMemberError."""
    found = actor.team.memberships.filter(pk=member.pk).select_related("user").first()
    if found is None:
        raise NoSuchMemberError(_("This person is no longer in the team."))
    return found


def _end(actor: Actor, member: Membership, action: str, ip_address: str | None) -> None:
    """End a membership and log its role. Raise LastOwnerError."""
    if member.role == Role.OWNER:
        _require_another_owner(member)
    detail = {"role": member.role}
    audit.record(actor, action, member.user.email, detail=detail, ip_address=ip_address)
    revoke_approved_keys(actor.team, member.user)
    member.delete()


def _require_another_owner(member: Membership) -> None:
    owners = Membership.objects.filter(team_id=member.team_id, role=Role.OWNER)
    if not owners.exclude(pk=member.pk).exists():
        raise LastOwnerError(_("A team needs an owner. Make another member an owner first."))
