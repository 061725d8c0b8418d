"""A key as its team's pages show it."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import QuerySet
from django.utils import timezone

from accounts.access import Actor
from accounts.models import ApiKey, Plan
from billing.usage.key_spending import KeySpending, spending_of

SHOWN_WITH_KEYS = ("created_by", "spend", "replaced_by", "replaces")
_SOON = timedelta(days=7)


@dataclass(frozen=True)
class State:
    """What a key's badge says. `kind` is the badge's class."""

    title: str
    kind: str


@dataclass(frozen=True)
class ShownKey:
    """A key with its spending, and whether the reader may change it."""

    key: ApiKey
    plan: Plan
    spending: KeySpending
    may_manage: bool
    now: datetime

    @property
    def is_revoked(self) -> bool:
        """Whether somebody has ended it."""
        return self.key.revoked_at is not None

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.key.expires_at is not None and self.key.expires_at <= self.now

    @property
    def is_active(self) -> bool:
        """Whether it opens anything."""
        return not (self.is_revoked or self.is_expired)

    @property
    def successor(self) -> ApiKey | None:
        """The key that it was rotated into."""
        return getattr(self.key, "replaced_by", None)

    @property
    def state(self) -> State:
        """Its state in a word: what ends it goes before what limits it."""
        if self.is_revoked:
            return State("Revoked", "bad")
        if self.is_expired:
            return State("Rotated" if self.successor else "Expired", "")
        if self.successor:
            return State("Being rotated", "warn")
        if self.spending.is_budget_reached:
            return State("Budget reached", "warn")
        if self.key.expires_at is not None and self.key.expires_at - self.now <= _SOON:
            return State("Expires soon", "warn")
        return State("Active", "good")

    @property
    def is_management(self) -> bool:
        """Whether it opens the management API, not the models."""
        return self.key.scope == ApiKey.Scope.MANAGEMENT

    @property
    def may_change(self) -> bool:
        """Whether the reader may change or revoke it now."""
        return self.may_manage and self.is_active

    @property
    def may_rotate(self) -> bool:
        """Whether the reader may rotate it now: a key is rotated once."""
        return self.may_change and self.successor is None

    @property
    def limits(self) -> str:
        """Its limits, and whose they are."""
        own = (self.key.requests_per_minute, self.key.tokens_per_minute)
        requests = own[0] if own[0] is not None else self.plan.requests_per_minute
        tokens = own[1] if own[1] is not None else self.plan.tokens_per_minute
        whose = " (the plan's)" if own == (None, None) else ""
        return f"{requests:,} requests and {tokens:,} tokens a minute{whose}"


def visible_keys(actor: Actor) -> QuerySet[ApiKey]:
    """Returns the team's keys, each with all that is shown of it in one query."""
    return actor.visible_keys().select_related(*SHOWN_WITH_KEYS)


def shown(key: ApiKey, actor: Actor) -> ShownKey:
    """Returns the key as the actor sees it."""
    now = timezone.now()
    plan = actor.team.plan
    return ShownKey(key, plan, spending_of(key, now), actor.may_manage(key), now)
