"""Permissions in a team, decided here and nowhere else.

| role      | creates keys | manages keys         | management keys | billing | members        |
|-----------|--------------|----------------------|-----------------|---------|----------------|
| owner     | yes          | all                  | yes             | yes     | all            |
| admin     | yes          | all but management   | no              | yes     | all but owners |
| developer | yes          | those they created   | no              | no      | none           |
| billing   | no           | none                 | no              | yes     | none           |

Every member sees the team's keys, usage, available balance and members. "Billing" means seeing the
statement and paying; "members" are those that the role may invite, change and remove. A role that
manages members also renames the team, reads its audit log and manages its webhooks.

A personal team can be shared, but its user stays its only owner and can't leave it.

Managing a key means changing, rotating or revoking it. A management key acts for its team as an
admin does, and may also rotate or revoke itself; it creates no other management key, so revoking it
ends everything it could do. Keys belong to the team and outlive their creator's membership.
"""

from dataclasses import dataclass

from django.db.models import QuerySet

from accounts.models import ApiKey, Invitation, Membership, Role, Team, User


@dataclass(frozen=True)
class Actor:
    """The one who acts on a team: a member, or a management key."""

    team: Team
    user: User | None = None
    role: str | None = None
    key: ApiKey | None = None

    def visible_keys(self) -> QuerySet[ApiKey]:
        """Return the keys that the actor may see: the team's."""
        return ApiKey.objects.filter(team=self.team)

    def may_create_keys(self, scope: str = ApiKey.Scope.INFERENCE) -> bool:
        """Return whether the actor may create a key of this scope."""
        if scope == ApiKey.Scope.MANAGEMENT:
            return self.role == Role.OWNER
        return self.key is not None or self.role in {Role.OWNER, Role.ADMIN, Role.DEVELOPER}

    @property
    def role_label(self) -> str:
        """The actor's role as people read it; empty for a management key."""
        return str(Role(self.role).label) if self.role else ""

    @property
    def may_see_billing(self) -> bool:
        """Whether the actor may see the team's statement and pay."""
        return self.role in {Role.OWNER, Role.ADMIN, Role.BILLING}

    @property
    def may_manage_members(self) -> bool:
        """Whether the actor may invite, change and remove members (owners only an owner)."""
        return self.role in {Role.OWNER, Role.ADMIN}

    @property
    def may_rename_team(self) -> bool:
        """Whether the actor may rename the team."""
        return self.may_manage_members

    @property
    def may_see_audit_log(self) -> bool:
        """Whether the actor may read the team's audit log."""
        return self.may_manage_members

    @property
    def may_manage_webhooks(self) -> bool:
        """Whether the actor may see and change the team's webhook endpoints."""
        return self.role in {Role.OWNER, Role.ADMIN}

    @property
    def grantable_roles(self) -> list[Role]:
        """The roles that the actor may give to a member and offer in an invitation."""
        if not self.may_manage_members:
            return []
        may_make_owners = self.role == Role.OWNER and not self.team.is_personal
        return [role for role in Role if role != Role.OWNER or may_make_owners]

    def may_change(self, member: Membership) -> bool:
        """Return whether the actor may give the member another role, or remove them."""
        if member.team_id != self.team.pk or not self.may_manage_members:
            return False
        if member.role == Role.OWNER:
            return self.role == Role.OWNER and not self.team.is_personal
        return True

    def may_handle(self, invitation: Invitation) -> bool:
        """Return whether the actor may resend or withdraw the invitation."""
        return invitation.team_id == self.team.pk and invitation.role in self.grantable_roles

    @property
    def may_leave(self) -> bool:
        """Whether the actor may leave the team (a last owner may not either: accounts/members)."""
        return self.user is not None and not (self.team.is_personal and self.role == Role.OWNER)

    def may_manage(self, key: ApiKey) -> bool:
        """Return whether the actor may change, rotate or revoke the key."""
        if key.team_id != self.team.pk:
            return False
        if key.scope == ApiKey.Scope.MANAGEMENT:
            return self.role == Role.OWNER or (self.key is not None and self.key.pk == key.pk)
        if self.key is not None or self.role in {Role.OWNER, Role.ADMIN}:
            return True
        return (
            self.role == Role.DEVELOPER
            and self.user is not None
            and key.created_by_id == self.user.pk
        )


def memberships_of(user: User) -> list[Membership]:
    """Return the user's memberships with team and plan, the personal team's first."""
    memberships = Membership.objects.filter(user=user).select_related("team__plan")
    return list(memberships.order_by("-team__is_personal", "id"))


def membership_in(user: User, team: Team) -> Membership | None:
    """Return the user's membership of the team, or None."""
    return Membership.objects.filter(user=user, team=team).first()


def actor_of_user(user: User, slug: str | None = None) -> Actor | None:
    """Return the user as a member of one of their teams, in one query.

    `slug` names the team; without it, it is the personal team, else the only one. Return None
    where the user is in no such team, or in several of which none is personal.
    """
    memberships = Membership.objects.filter(user=user).select_related("team__plan")
    if slug is not None:
        # PostgreSQL takes no NUL in a text, and no slug has one.
        named = None if "\0" in slug else memberships.filter(team__slug=slug).first()
        return _actor_of(user, named)
    found = list(memberships.order_by("id"))
    personal = [each for each in found if each.team.is_personal and each.role == Role.OWNER]
    if personal:
        return _actor_of(user, personal[0])
    return _actor_of(user, found[0]) if len(found) == 1 else None


def actor_of_key(key: ApiKey) -> Actor | None:
    """Return a management key as the actor of its team; None for a key of another scope."""
    return Actor(team=key.team, key=key) if key.scope == ApiKey.Scope.MANAGEMENT else None


def _actor_of(user: User, membership: Membership | None) -> Actor | None:
    if membership is None:
        return None
    return Actor(team=membership.team, user=user, role=membership.role)
