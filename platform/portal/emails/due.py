"""The notices that are due. Each has a reference to what it reports, so that it is sent only once.

These queries cover the whole service: each is one statement, however many customers there are, and
lets the database leave out the members who need no notice.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.conf import settings
from django.db.models import BigIntegerField, BooleanField, Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Coalesce
from django.urls import reverse

from accounts.models import (
    ApiKey,
    Membership,
    NotificationSettings,
    Role,
    SentNotice,
    Team,
    User,
    WebhookEndpoint,
)
from accounts.webhooks.events import EventType, Occasion, key_data, publish_new
from accounts.zones import moment_for
from api.key_guard import network_text
from api.models import KeyIncident
from billing.models import CreditAccount, KeySpend, Transfer
from billing.pricing.money import dollars_text
from portal.access import without_chat_keys

BILLING_ROLES = (Role.OWNER, Role.ADMIN, Role.BILLING)
KEY_ROLES = (Role.OWNER, Role.ADMIN)

# No notice of a key older than this, whatever delayed the notice.
NEW_KEY_AGE = timedelta(days=1)
WARNING_PERCENT = 90
# No notice of an endpoint that was disabled before, whatever delayed the notice.
DISABLED_WEBHOOK_AGE = timedelta(days=3)


@dataclass(frozen=True)
class Notice:
    """An email that is due: to whom, about what."""

    user: User
    team: Team
    kind: SentNotice.Kind
    reference: str
    facts: dict[str, str | int]


# Each key with a reference and facts for each budget that is nearly or wholly spent.
NearBudgets = dict[ApiKey, list[tuple[str, dict[str, str | int]]]]


def low_balances() -> Iterator[Notice]:
    """Yield the members who may pay, of teams whose booked balance is below their threshold.

    It is the booked balance: a request's hold is mostly given back, so the available one would
    raise false alarms. And only where the last transfer took something: a fresh account is not low.
    """
    wanted = wanting("low_balance").filter(role__in=BILLING_ROLES)
    default = NotificationSettings._meta.get_field("low_balance_nanos").default
    thresholds = wanted.annotate(
        threshold=Coalesce(
            F("user__notification_settings__low_balance_nanos"),
            Value(default),
            output_field=BigIntegerField(),
        ),
        posted=F("team__credit_account__posted_nanos"),
    ).filter(posted__lt=F("threshold"))
    account = OuterRef("team__credit_account__pk")
    sequence = OuterRef("team__credit_account__last_sequence")
    last = Transfer.objects.filter(customer=account, sequence=sequence, debit_account=account)
    sent = SentNotice.objects.filter(
        user=OuterRef("user"), team=OuterRef("team"), kind=SentNotice.Kind.LOW_BALANCE
    )
    for member in thresholds.filter(Exists(last), ~Exists(sent)):
        yield Notice(
            user=member.user,
            team=member.team,
            kind=SentNotice.Kind.LOW_BALANCE,
            reference=f"team {member.team_id}",
            facts={"balance_nanos": member.posted, "threshold_nanos": member.threshold},
        )


def members_of(teams: set[int], roles: Collection[str] = BILLING_ROLES) -> dict[int, list[User]]:
    """Return the members with these roles, by their team's id, whatever emails they chose."""
    found: dict[int, list[User]] = {}
    members = Membership.objects.filter(team__in=teams, role__in=roles, user__is_active=True)
    for member in members.select_related("user"):
        found.setdefault(member.team_id, []).append(member.user)
    return found


def rearm_low_balances() -> int:
    """Forget the low balances that have risen since, so that the next fall is reported; return how
    many.
    """
    chosen = NotificationSettings.objects.filter(user=OuterRef("user")).values("low_balance_nanos")
    default = NotificationSettings._meta.get_field("low_balance_nanos").default
    posted = CreditAccount.objects.filter(team=OuterRef("team")).values("posted_nanos")
    sent = SentNotice.objects.filter(kind=SentNotice.Kind.LOW_BALANCE).alias(
        threshold=Coalesce(chosen, Value(default), output_field=BigIntegerField()),
        posted=posted,
    )
    forgotten, _ = sent.filter(posted__gte=F("threshold")).delete()
    return forgotten


def near_budgets(today: date) -> NearBudgets:
    """Return the budgets of today (a UTC date) of which keys have spent 90% or more."""
    month = today.replace(day=1)
    spends = KeySpend.objects.filter(
        _is_near("day_nanos", "budget_day_nanos") & Q(day=today)
        | _is_near("month_nanos", "budget_month_nanos") & Q(month=month)
        | _is_near("total_nanos", "budget_total_nanos"),
        key__revoked_at__isnull=True,
    ).select_related("key__team")
    return {spend.key: list(_reached(spend, today)) for spend in spends}


def reached_budgets(found: NearBudgets) -> Iterator[Notice]:
    """Yield who should hear of these budgets."""
    for key, member in _listeners(list(found), wanting("budget_reached")):
        for reference, facts in found[key]:
            kind = SentNotice.Kind.BUDGET_REACHED
            yield Notice(member.user, key.team, kind, reference, {**_names(key), **facts})


def publish_reached_budgets(found: NearBudgets) -> int:
    """Publish these budgets to webhooks, once each. Return how many events that made."""
    occasions = [
        Occasion(
            key.team_id,
            reference,
            {
                **key_data(key),
                "scope": "api_key",
                "period": facts["period"],
                "percent": facts["percent"],
                "budget_usd": dollars_text(int(facts["budget_nanos"])),
                "spent_usd": dollars_text(int(facts["spent_nanos"])),
            },
        )
        for key, reached in found.items()
        for reference, facts in reached
    ]
    return publish_new(EventType.BUDGET_REACHED, occasions)


def disabled_webhooks(now: datetime) -> Iterator[Notice]:
    """Yield who should hear that the service disabled an endpoint in the days before `now`."""
    by_service = (
        WebhookEndpoint.DisabledReason.FAILING,
        WebhookEndpoint.DisabledReason.GONE,
    )
    rows = WebhookEndpoint.objects.filter(
        disabled_reason__in=by_service, disabled_at__gt=now - DISABLED_WEBHOOK_AGE
    )
    found = list(rows.select_related("team"))
    members = members_of({row.team_id for row in found}, KEY_ROLES)
    for row in found:
        for user in members.get(row.team_id, []):
            kind, facts = SentNotice.Kind.WEBHOOK_DISABLED, {"reason": row.disabled_reason}
            reference = f"webhook {row.pk} {row.disabled_at:%Y-%m-%d %H:%M:%S.%f}"
            yield Notice(user, row.team, kind, reference, {"url": row.url, "id": row.pk, **facts})


def key_incidents(now: datetime) -> Iterator[Notice]:
    """Yield who should hear of unusual use of keys in the day before `now`, whatever they chose."""
    found = KeyIncident.objects.filter(created_at__gt=now - NEW_KEY_AGE)
    incidents = list(found.select_related("key__team").order_by("pk"))
    members = Membership.objects.select_related("user").filter(user__is_active=True)
    base_url = settings.BASE_URL.rstrip("/")
    listeners: dict[int, list[User]] = {}
    for key, member in _listeners(list({each.key for each in incidents}), members):
        listeners.setdefault(key.pk, []).append(member.user)
    for each in incidents:
        facts: dict[str, str | int] = {
            **_names(each.key),
            "key_url": f"{base_url}{reverse('key', args=[each.key_id])}",
            "network": network_text(each),
            "spent_nanos": each.spent_nanos,
            "usual_nanos": each.usual_nanos,
            "is_frozen": int(each.is_frozen),
        }
        for user in listeners.get(each.key_id, []):
            kind, reference = SentNotice.Kind.KEY_FLAGGED, f"key incident {each.pk}"
            yield Notice(user, each.key.team, kind, reference, facts)


def new_keys(now: datetime) -> Iterator[Notice]:
    """Yield who should hear of the keys made in the day before `now`; a chat's need no notice."""
    made = ApiKey.objects.filter(created_at__gt=now - NEW_KEY_AGE)
    keys = without_chat_keys(made).select_related("team", "created_by")
    for key, member in _listeners(list(keys), wanting("key_created")):
        if member.created_at > key.created_at:  # no notices of keys older than the membership
            continue
        facts: dict[str, str | int] = {
            **_names(key),
            "maker": key.created_by.email if key.created_by else "",
            "scope": key.scope,
            "created_at": moment_for(key.created_at, member.user.zone, member.user.language),
            "is_rotation": int(key.replaces_id is not None),
        }
        yield Notice(member.user, key.team, SentNotice.Kind.KEY_CREATED, f"key {key.pk}", facts)


def wanting(choice: str) -> QuerySet[Membership]:
    """Return the members who want this kind of email; who has chosen nothing does."""
    path = f"user__notification_settings__{choice}"
    wants = Coalesce(F(path), Value(True), output_field=BooleanField())
    members = Membership.objects.select_related("user", "team").filter(user__is_active=True)
    return members.annotate(wants=wants).filter(wants=True)


def _listeners(
    keys: list[ApiKey], members: QuerySet[Membership]
) -> Iterator[tuple[ApiKey, Membership]]:
    """Yield each key with those who hear of it: its maker, and its team's owners and admins."""
    teams: dict[int, list[Membership]] = {}
    for member in members.filter(team__in={key.team_id for key in keys}):
        teams.setdefault(member.team_id, []).append(member)
    for key in keys:
        for member in teams.get(key.team_id, []):
            if member.role in KEY_ROLES or member.user_id == key.created_by_id:
                yield key, member


def _is_near(spent: str, budget: str) -> Q:
    """Return the condition that about 90% of a budget are spent; `_reached` looks closely."""
    near = F(f"key__{budget}") / 100 * WARNING_PERCENT  # in this order: no budget overflows
    return Q(**{f"key__{budget}__gt": 0, f"{spent}__gte": near})


def _reached(spend: KeySpend, today: date) -> Iterator[tuple[str, dict[str, str | int]]]:
    """Yield a reference and facts for each budget that is nearly or wholly spent.

    The reference names budget and period: another budget, or another day, is another notice.
    """
    key = spend.key
    month = today.replace(day=1)
    periods = [
        ("daily", f"{today}", key.budget_day_nanos, spend.day_nanos, spend.day == today),
        ("monthly", f"{month}", key.budget_month_nanos, spend.month_nanos, spend.month == month),
        ("total", "ever", key.budget_total_nanos, spend.total_nanos, True),
    ]
    for name, period, budget, spent, is_current in periods:
        if not budget or not is_current or spent * 100 < budget * WARNING_PERCENT:
            continue
        percent = 100 if spent >= budget else WARNING_PERCENT
        reference = f"key {key.pk} {name} {period} of {budget} at {percent}"
        facts: dict[str, str | int] = {
            "period": name,
            "budget_nanos": budget,
            "spent_nanos": spent,
            "percent": percent,
        }
        yield reference, facts


def _names(key: ApiKey) -> dict[str, str | int]:
    return {"key_name": key.name, "key_hint": f"{key.prefix}…{key.last_four}"}
