"""What staff see of one customer. Sections that they may not view aren't queried."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.contrib.sessions.models import Session
from django.db.models import Count, Q, QuerySet
from django.utils import timezone

from accounts.models import ApiKey, AuditEntry, Invitation, Membership, StaffNote, Team, User
from api.catalogue.contracts import open_contracts
from billing.models import (
    ContractPrice,
    CreditAccount,
    Dispute,
    ManualPosting,
    Order,
    Refund,
    Reservation,
    Subscription,
    UsageRecord,
)
from billing.usage.lots import Lot, lots_left
from billing.usage.records import Selection, Sums, UsageSum, sums
from portal.access import without_chat_keys
from portal.ui.charts import Chart, chart_of
from portal.ui.periods import last_days

DAYS = 30
ROWS = 10
KEY_ROWS = 50


@dataclass(frozen=True)
class Usage:
    """Usage of thirty days: the chart by day, and the sums by model."""

    chart: Chart | None
    by_model: list[tuple[str, UsageSum]]
    total: UsageSum


@dataclass
class CustomerPage:
    """A customer. A section is None for staff who may not view its rows."""

    team: Team
    account: CreditAccount | None = None
    lots: list[Lot] | None = None
    holds: list[Reservation] | None = None
    members: list[Membership] | None = None
    invitations: list[Invitation] | None = None
    keys: list[ApiKey] | None = None
    subscription: Subscription | None = None
    orders: list[Order] | None = None
    refunds: list[Refund] | None = None
    disputes: list[Dispute] | None = None
    postings: list[ManualPosting] | None = None
    contracts: list[ContractPrice] | None = None
    usage: Usage | None = None
    errors: list[UsageRecord] | None = None
    notes: list[StaffNote] = field(default_factory=list)
    audit: list[AuditEntry] | None = None


def find_team(team_id: int) -> Team | None:
    """Return the team with its plan; None where there is none."""
    return Team.objects.select_related("plan").filter(pk=team_id).first()


def customer_page(team: Team, staff: User) -> CustomerPage:
    """Return what the member of staff may see of the team."""
    page = CustomerPage(team)
    page.notes = list(team.staff_notes.select_related("author").order_by("-id")[:ROWS])
    _add_people(page, staff)
    _add_money(page, staff)
    account = CreditAccount.objects.filter(team=team).first()
    if account is not None:
        page.account = account if staff.has_perm("billing.view_creditaccount") else None
        _add_use(page, account, staff)
    return page


def _add_people(page: CustomerPage, staff: User) -> None:
    team = page.team
    if staff.has_perm("accounts.view_membership"):
        members = team.memberships.select_related("user").order_by("created_at", "id")
        page.members = list(
            members.annotate(
                sessions=Count("user__usersession", distinct=True, filter=_open_sessions())
            )[:KEY_ROWS]
        )
    if staff.has_perm("accounts.view_invitation"):
        pending = Invitation.objects.filter(
            team=team, accepted_at__isnull=True, revoked_at__isnull=True
        )
        page.invitations = list(pending.order_by("-id")[:ROWS])
    if staff.has_perm("accounts.view_apikey"):
        keys = without_chat_keys(ApiKey.objects.filter(team=team)).select_related("spend")
        page.keys = list(keys.order_by("revoked_at", "-id")[:KEY_ROWS])
    if staff.has_perm("accounts.view_auditentry"):
        page.audit = list(team.audit_entries.order_by("-created_at", "-id")[:ROWS])


def _open_sessions() -> Q:
    live = Session.objects.filter(expire_date__gt=timezone.now()).values("session_key")
    return Q(user__usersession__session_key__in=live)


def _add_money(page: CustomerPage, staff: User) -> None:
    team = page.team
    page.subscription = _newest(
        staff, "billing.view_subscription", Subscription.objects.filter(team=team), "price__plan"
    )
    page.orders = _rows(staff, "billing.view_order", Order.objects.filter(team=team))
    page.refunds = _rows(
        staff, "billing.view_refund", Refund.objects.filter(order__team=team), "order"
    )
    disputes = Dispute.objects.filter(
        Q(order__team=team) | Q(subscription_payment__subscription__team=team)
    )
    page.disputes = _rows(staff, "billing.view_dispute", disputes, "order", "subscription_payment")
    if staff.has_perm("billing.view_contractprice"):
        page.contracts = list(open_contracts(team))
    page.postings = _rows(
        staff,
        "billing.view_manualposting",
        ManualPosting.objects.filter(team=team),
        "requested_by",
        "decided_by",
    )


def _rows(staff: User, permission: str, found: "QuerySet[Any]", *related: str) -> Any:
    """Return the newest rows, or None for staff who may not view them."""
    if not staff.has_perm(permission):
        return None
    rows = found.select_related(*related) if related else found
    return list(rows.order_by("-created_at")[:ROWS])


def _newest(staff: User, permission: str, found: "QuerySet[Any]", *related: str) -> Any:
    rows = _rows(staff, permission, found, *related)
    return rows[0] if rows else None


def _add_use(page: CustomerPage, account: CreditAccount, staff: User) -> None:
    if staff.has_perm("billing.view_creditlot"):
        page.lots = lots_left(account)
    if staff.has_perm("billing.view_reservation"):
        holds = Reservation.objects.filter(account=account, state=Reservation.State.OPEN)
        page.holds = list(holds.order_by("expires_at")[:ROWS])
    if staff.has_perm("billing.view_usagehour"):
        days = last_days(DAYS)
        page.usage = _usage_of(sums(Selection(account.pk, days.since, days.until)))
    if staff.has_perm("billing.view_usagerecord"):
        since = timezone.now() - timedelta(days=DAYS)
        failed = UsageRecord.objects.filter(account=account, created_at__gte=since)
        # In the words of the partial index of requests that did not complete.
        failed = failed.filter(~Q(outcome="completed")).exclude(outcome="client_closed")
        page.errors = list(failed.order_by("-created_at")[:ROWS])


def _usage_of(parts: Sums) -> Usage:
    by_model: dict[str, UsageSum] = {}
    for (_, model), part in parts.items():
        by_model[model] = by_model.get(model, UsageSum()) + part
    ordered = sorted(by_model.items(), key=lambda each: (-each[1].charged_nanos, each[0]))
    days = last_days(DAYS)
    total = sum(by_model.values(), UsageSum())
    return Usage(chart_of(parts, days.since, days.until), ordered, total)
