"""The audit log: actions and their actors in a team, without plaintext keys and passwords."""

from collections.abc import Mapping
from dataclasses import dataclass

from accounts.access import Actor
from accounts.models import AuditEntry, Team, User


@dataclass(frozen=True)
class Staff:
    """A member of the service's staff who acts on a team in the admin.

    The team sees their name, but neither their email address nor their IP address.
    """

    team: Team
    user: User


def record(
    actor: Actor | Staff,
    action: str,
    subject: str = "",
    *,
    detail: Mapping[str, object] | None = None,
    ip_address: str | None = None,
) -> AuditEntry:
    """Record an action of the actor in their team, and return the entry.

    `action` is `thing.verb` in the past tense: `key.created`, `member.removed`. Call it in the
    action's transaction, so that both are committed or neither.
    """
    return AuditEntry.objects.create(
        team=actor.team,
        actor=actor.user,
        actor_label=_label_of(actor),
        action=action,
        subject=subject[:254],
        detail=dict(detail or {}),
        ip_address=ip_address,
    )


def _label_of(actor: Actor | Staff) -> str:
    if isinstance(actor, Staff):
        return f"staff: {actor.user.name}"[:254] if actor.user.name else "staff"
    if actor.user is not None:
        return actor.user.email
    return f"management key {actor.key}" if actor.key is not None else "the service"
