"""The audit log: who did what in a team. Plaintext keys and passwords never come here."""

from collections.abc import Mapping

from accounts.access import Actor
from accounts.models import AuditEntry


def record(
    actor: Actor,
    action: str,
    subject: str = "",
    *,
    detail: Mapping[str, object] | None = None,
    ip_address: str | None = None,
) -> AuditEntry:
    """Writes down that the actor did something in their team, and returns the entry.

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


def _label_of(actor: Actor) -> str:
    if actor.user is not None:
        return actor.user.email
    return f"management key {actor.key}" if actor.key is not None else "the service"
