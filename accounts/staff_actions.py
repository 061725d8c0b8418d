"""Staff actions on a team, except money: freezing, limits, plan, tags, notes, sessions.

The reason for an action is recorded in the team's audit log and in the staff log, in the action's
transaction. Callers check permissions first.
"""

from collections.abc import Mapping

from django.contrib.admin.models import CHANGE, LogEntry
from django.db import models, transaction
from django.utils import timezone

from accounts import api_keys, audit, sessions
from accounts.audit import Staff
from accounts.errors import KeyNotActiveError
from accounts.models import ApiKey, Plan, StaffNote, Team, User
from accounts.webhooks.events import publish_key_frozen


def log_action(
    staff: Staff,
    action: str,
    row: models.Model,
    reason: str,
    *,
    detail: Mapping[str, object] | None = None,
) -> None:
    """Record an action with its reason in the team's audit log and in the staff log."""
    facts = {**(detail or {}), "reason": reason}
    audit.record(staff, action, str(row), detail=facts)
    log_for_staff(staff.user, row, f"{action}: {reason}")


def log_for_staff(user: User, row: models.Model, message: str) -> None:
    """Record what a staff member did to a row, in the staff log only."""
    LogEntry.objects.log_actions(user.pk, [row], CHANGE, message, single_object=True)


def freeze_team(staff: Staff, reason: str) -> None:
    """Reject the team's keys from their next request on. A frozen team keeps its first reason."""
    with transaction.atomic():
        team = _locked(staff.team)
        if team.suspended_at is None:
            team.suspended_at, team.suspended_reason = timezone.now(), reason[:200]
            team.save(update_fields=["suspended_at", "suspended_reason"])
            log_action(staff, "team.frozen", team, reason)


def unfreeze_team(staff: Staff, reason: str) -> None:
    """Accept the team's keys again, whatever the reason they were paused for."""
    with transaction.atomic():
        team = _locked(staff.team)
        if team.suspended_at is not None:
            detail = {"frozen_for": team.suspended_reason}
            team.suspended_at, team.suspended_reason = None, ""
            team.save(update_fields=["suspended_at", "suspended_reason"])
            log_action(staff, "team.unfrozen", team, reason, detail=detail)


def freeze_key(staff: Staff, key: ApiKey, reason: str) -> None:
    """Reject a key from its next request on, until staff unfreeze it. Raise KeyNotActiveError."""
    with transaction.atomic():
        found = api_keys.freeze_key(_key_of(staff.team, key), is_by_team=False)
        log_action(staff, "key.frozen", found, reason)
        publish_key_frozen(found, "staff")


def unfreeze_key(staff: Staff, key: ApiKey, reason: str) -> None:
    """Accept a frozen key again, whoever froze it. Raise KeyNotActiveError if it isn't frozen."""
    with transaction.atomic():
        found = api_keys.unfreeze_key(_key_of(staff.team, key), is_by_team=False)
        log_action(staff, "key.unfrozen", found, reason)


def change_limits(
    staff: Staff, *, concurrent_requests: int | None, max_keys: int | None, reason: str
) -> None:
    """Set the team's own limits; None means the plan's."""
    with transaction.atomic():
        team = _locked(staff.team)
        before = f"{_limit(team.concurrent_requests)} requests, {_limit(team.max_keys)} keys"
        team.concurrent_requests, team.max_keys = concurrent_requests, max_keys
        team.save(update_fields=["concurrent_requests", "max_keys"])
        after = f"{_limit(concurrent_requests)} requests, {_limit(max_keys)} keys"
        log_action(staff, "team.limits_changed", team, reason, detail={"from": before, "to": after})


def change_plan(staff: Staff, plan: Plan, reason: str) -> None:
    """Move the team to another plan. What it pays for a subscription doesn't change."""
    with transaction.atomic():
        team = _locked(staff.team)
        before = team.plan
        team.plan = plan
        team.save(update_fields=["plan"])
        detail = {"from": before.title, "to": plan.title}
        log_action(staff, "team.plan_changed", team, reason, detail=detail)


def end_sessions(staff: Staff, user: User, reason: str) -> int:
    """Sign a member out everywhere. Return the number of sessions that ended."""
    with transaction.atomic():
        ended = sessions.end_sessions(user)
        log_action(staff, "account.sessions_ended", user, reason, detail={"sessions": ended})
    return ended


def add_note(staff: Staff, text: str) -> StaffNote:
    """Add a note about the team that only staff can see."""
    with transaction.atomic():
        note = StaffNote.objects.create(team=staff.team, author=staff.user, text=text)
        log_for_staff(staff.user, staff.team, "Note added.")
    return note


def change_tags(staff: Staff, tags: list[str]) -> None:
    """Replace the team's tags, which only staff can see."""
    with transaction.atomic():
        team = _locked(staff.team)
        team.tags = sorted({tag.strip().lower() for tag in tags if tag.strip()})
        team.save(update_fields=["tags"])
        log_for_staff(staff.user, team, f"Tags: {', '.join(team.tags) or 'none'}.")


def _locked(team: Team) -> Team:
    return (
        Team.objects.select_for_update(no_key=True, of=("self",))
        .select_related("plan")
        .get(pk=team.pk)
    )


def _key_of(team: Team, key: ApiKey) -> ApiKey:
    found = ApiKey.objects.filter(team=team, pk=key.pk).first()
    if found is None:
        raise KeyNotActiveError("The team has no such key.")
    return found


def _limit(value: int | None) -> str:
    return "the plan's" if value is None else f"{value:,}"
