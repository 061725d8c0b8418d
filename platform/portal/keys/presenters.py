"""An API key and its daily cost, prepared for the team's pages."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.utils import timezone
from django.utils.translation import gettext, ngettext, pgettext

from accounts.access import Actor
from accounts.formats import day_format, whole_text
from accounts.models import ApiKey, Plan
from billing.usage.key_spending import DayOfUse, KeySpending, spending_of

_SOON = timedelta(days=7)


@dataclass(frozen=True)
class State:
    """The state on a key's badge. `kind` is the badge's class."""

    title: str
    kind: str


@dataclass(frozen=True)
class KeyPresenter:
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
    def expires_at(self) -> datetime | None:
        """When its time is over; a frozen key's as it was before."""
        if self.key.frozen_at:
            return self.key.renewable_until or self.key.unfrozen_expires_at
        return self.key.ends_at

    @property
    def is_expired(self) -> bool:
        """Whether its time is over."""
        return self.expires_at is not None and self.expires_at <= self.now

    @property
    def is_frozen(self) -> bool:
        """Whether it works again once it is unfrozen."""
        return self.key.frozen_at is not None and not (self.is_revoked or self.is_expired)

    @property
    def is_active(self) -> bool:
        """Whether it opens anything."""
        return not (self.is_revoked or self.is_expired or self.is_frozen)

    @property
    def successor(self) -> ApiKey | None:
        """The key that it was rotated into."""
        return getattr(self.key, "replaced_by", None)

    @property
    def last_address(self) -> str:
        """The IP address of its last request; empty if none is known."""
        known = getattr(self.key, "last_address", None)
        return known.address if known is not None else ""

    @property
    def state(self) -> State:
        """Its state in a word: what ends it goes before what limits it."""
        if self.is_revoked:
            return State(pgettext("key", "Revoked"), "bad")
        if self.is_expired:
            title = pgettext("key", "Rotated") if self.successor else pgettext("key", "Expired")
            return State(title, "")
        if self.is_frozen:
            return State(pgettext("key", "Frozen"), "warn")
        if self.successor:
            return State(pgettext("key", "Rotating"), "warn")
        if self.spending.is_budget_reached:
            return State(gettext("Budget reached"), "warn")
        if self.expires_at is not None and self.expires_at - self.now <= _SOON:
            return State(gettext("Expires soon"), "warn")
        return State(pgettext("key", "Active"), "good")

    @property
    def is_management(self) -> bool:
        """Whether it opens the management API, not the models."""
        return self.key.scope == ApiKey.Scope.MANAGEMENT

    @property
    def may_change(self) -> bool:
        """Whether the reader may change or freeze it now."""
        return self.may_manage and self.is_active

    @property
    def may_revoke(self) -> bool:
        """Whether the reader may revoke it now."""
        return self.may_manage and (self.is_active or self.is_frozen)

    @property
    def may_unfreeze(self) -> bool:
        """Whether the reader may unfreeze it now: a key that staff froze is theirs to unfreeze."""
        return self.may_manage and self.is_frozen and self.key.is_frozen_by_team

    @property
    def may_rotate(self) -> bool:
        """Whether the reader may rotate it now: a key is rotated once."""
        return self.may_change and self.successor is None

    @property
    def has_own_limits(self) -> bool:
        """Whether its limits differ from the plan's."""
        return (self.key.requests_per_minute, self.key.tokens_per_minute) != (None, None)

    @property
    def limits(self) -> str:
        """Its limits, and whose they are."""
        own = (self.key.requests_per_minute, self.key.tokens_per_minute)
        requests = own[0] if own[0] is not None else self.plan.requests_per_minute
        tokens = own[1] if own[1] is not None else self.plan.tokens_per_minute
        if self.has_own_limits:
            text = gettext("{requests} requests and {tokens} tokens a minute")
        else:
            text = gettext("{requests} requests and {tokens} tokens a minute (the plan's)")
        return text.format(requests=whole_text(requests), tokens=whole_text(tokens))


def key_presenter(key: ApiKey, actor: Actor) -> KeyPresenter:
    """Return the key as the actor sees it."""
    now = timezone.now()
    plan = actor.team.plan
    return KeyPresenter(key, plan, spending_of(key, now), actor.may_manage(key), now)


WIDTH, HEIGHT = 300, 80
_LOWEST = 2  # a day that cost anything can be seen


@dataclass(frozen=True)
class DayBar:
    """A day's bar in the drawing's units, whose origin is the upper left."""

    use: DayOfUse
    x: float
    y: int
    width: float
    height: int

    @property
    def day_text(self) -> str:
        """The day, in UTC."""
        return self.use.day.strftime(day_format())

    @property
    def requests_text(self) -> str:
        """The number of requests, in words."""
        return _requests_text(self.use.requests)


@dataclass(frozen=True)
class DailyCost:
    """The bars of some days, oldest first, and the sums over them."""

    bars: list[DayBar]
    charged_nanos: int
    requests: int
    most_nanos: int
    width: int = WIDTH
    height: int = HEIGHT

    @property
    def requests_text(self) -> str:
        """The number of requests, in words."""
        return _requests_text(self.requests)


def _requests_text(requests: int) -> str:
    text = ngettext("{number} request", "{number} requests", requests)
    return text.format(number=whole_text(requests))


def daily_cost_of(days: list[DayOfUse]) -> DailyCost:
    """Return the bars: the highest day's fills the chart."""
    most = max((day.charged_nanos for day in days), default=0)
    step = WIDTH / max(len(days), 1)
    bars = []
    for index, day in enumerate(days):
        height = max(_LOWEST, day.charged_nanos * HEIGHT // most) if day.charged_nanos else 0
        bars.append(
            DayBar(day, round(index * step, 2), HEIGHT - height, round(step * 0.7, 2), height)
        )
    return DailyCost(
        bars=bars,
        charged_nanos=sum(day.charged_nanos for day in days),
        requests=sum(day.requests for day in days),
        most_nanos=most,
    )
