"""The audit log: who did what in a team. Plaintext keys and passwords never come here."""

from collections.abc import Mapping
from dataclasses import dataclass

from accounts.access import Actor
from accounts.models import AuditEntry, Team, User


@dataclass(frozen=True)
class Staff:
    """Somebody of the service's staff, who does something to a team in the admin.

    The team reads their name, and neither their e-mail address nor where they were.
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
    """Write down that the actor did something in their team, and return the entry.

    `action` is `thing.verb` in the past tense: `key.created`, `member.removed`. Call it in the
    transaction of the deed, so that both are kept or neither.
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
