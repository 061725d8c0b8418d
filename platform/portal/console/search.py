"""Staff's search: it finds a customer, or a row, by any identifier, a name or an address.

Identifiers are looked up in indexes. Two have none of their own, as an index of every request would
slow each settlement: a user tag is looked up account by account in the partial index of tags, and
an upstream's request id among the newest requests, day by day, for SEARCH_SECONDS at most.
"""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from django.contrib.admin.utils import quote
from django.db import connection
from django.db.models import Q
from django.urls import reverse
from django.utils import timezone

from accounts.models import ApiKey, Team, User
from billing.models import Dispute, Order, PaymentCustomer, Refund, Reservation, UsageRecord

MOST = 20
SEARCH_SECONDS = 2.0
LONGEST = 200
_HEX8 = re.compile(r"[0-9a-fA-F]{8}")


@dataclass(frozen=True)
class Match:
    """A search result and its URL."""

    kind: str
    title: str
    url: str


@dataclass(frozen=True)
class Found:
    """What a search found. `searched_until` is the first day whose upstream ids were searched."""

    matches: list[Match]
    searched_until: date | None = None


Finder = Callable[[str], Iterator[Match]]


def find(text: str, staff: User, *, before: date | None = None) -> Found:
    """Return what the text identifies, among the rows that the member of staff may view.

    `before` continues the search for an upstream's request id on earlier days.
    """
    text = " ".join(text.replace("\0", "").split())[:LONGEST]
    if not text:
        return Found([])
    matches: dict[str, Match] = {}
    if before is None:
        for permission, finder in _FINDERS:
            if staff.has_perm(permission):
                matches |= {each.url: each for each in finder(text)}
    if matches or len(text) < 3 or not staff.has_perm("billing.view_usagerecord"):
        return Found(list(matches.values())[:MOST])
    matches |= {each.url: each for each in _by_user_tag(text)} if before is None else {}
    record_id, until = (None, None) if matches else _by_upstream_id(text, before)
    if record_id is not None:
        matches[str(record_id)] = _request(record_id, "Request with this upstream id")
    return Found(list(matches.values())[:MOST], None if matches else until)


def _by_id(text: str) -> Iterator[Match]:
    request_id = _uuid_of(text)
    if request_id is None:
        return
    if UsageRecord.objects.filter(pk=request_id).exists():
        yield _request(request_id, "Request")
    else:
        yield from (
            _customer(each.account.team, "Request in progress")
            for each in Reservation.objects.filter(pk=request_id).select_related("account__team")
            if each.account.team is not None
        )


def _by_order(text: str) -> Iterator[Match]:
    wanted = Q(payment_intent_id=text) | Q(charge_id=text) | Q(session_id=text)
    order_id = _uuid_of(text)
    if order_id is not None:
        wanted |= Q(pk=order_id)
    elif _HEX8.fullmatch(text):
        # The number that customers see is the beginning of the id.
        first = UUID(f"{text}-0000-0000-0000-000000000000")
        wanted |= Q(pk__gte=first, pk__lte=UUID(f"{text}-ffff-ffff-ffff-ffffffffffff"))
    for order in Order.objects.filter(wanted).select_related("team")[:MOST]:
        url = reverse("admin:billing_order_change", args=[order.pk])
        yield Match("Order", f"{order.number} of {order.team}", url)


def _by_refund(text: str) -> Iterator[Match]:
    refund_id = _uuid_of(text)
    wanted = Q(stripe_id=text) | (Q(pk=refund_id) if refund_id else Q())
    for refund in Refund.objects.filter(wanted).select_related("order__team")[:MOST]:
        url = reverse("admin:billing_refund_change", args=[refund.pk])
        yield Match("Refund", f"of order {refund.order.number} of {refund.order.team}", url)


def _by_dispute(text: str) -> Iterator[Match]:
    for dispute in Dispute.objects.filter(stripe_id=text):
        url = reverse("admin:billing_dispute_change", args=[quote(dispute.pk)])
        yield Match("Dispute", f"{dispute.stripe_id} of {dispute.team}", url)


def _by_team(text: str) -> Iterator[Match]:
    wanted = Q(slug=text.lower()) | Q(name__iexact=text)
    if text.isdecimal() and text.isascii() and len(text) < 18:
        wanted |= Q(pk=int(text))
    teams = list(Team.objects.filter(wanted)[:MOST])
    if not teams and len(text) > 2:
        part = Q(name__icontains=text) | Q(slug__icontains=text) | Q(tags__contains=[text.lower()])
        teams = list(Team.objects.filter(part).order_by("name")[:MOST])
    yield from (_customer(team, "Team") for team in teams)


def _by_email(text: str) -> Iterator[Match]:
    if "@" not in text:
        return
    users = User.objects.filter(email=text.lower()) or User.objects.filter(email__istartswith=text)
    for user in users.prefetch_related("teams")[:MOST]:
        for team in user.teams.all():
            yield _customer(team, user.email)


def _by_key(text: str) -> Iterator[Match]:
    last_four = text[-4:] if len(text) == 4 or text.startswith(("…", "...")) else ""
    if len(last_four) == 4:
        for key in ApiKey.objects.filter(last_four=last_four).select_related("team")[:MOST]:
            yield _customer(key.team, f"Key {key}")


def _by_stripe_customer(text: str) -> Iterator[Match]:
    for customer in PaymentCustomer.objects.filter(stripe_id=text).select_related("team"):
        yield _customer(customer.team, "Stripe customer")


_FINDERS: list[tuple[str, Finder]] = [
    ("billing.view_usagerecord", _by_id),
    ("billing.view_order", _by_order),
    ("billing.view_refund", _by_refund),
    ("billing.view_dispute", _by_dispute),
    ("billing.view_paymentcustomer", _by_stripe_customer),
    ("accounts.view_user", _by_email),
    ("accounts.view_apikey", _by_key),
    ("accounts.view_team", _by_team),
]


def _by_user_tag(text: str) -> Iterator[Match]:
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT account.team_id, team.name FROM billing_creditaccount account
            JOIN accounts_team team ON team.id = account.team_id
            WHERE EXISTS (
                SELECT FROM billing_usagerecord record
                WHERE record.account_id = account.id AND record.end_user = %s
                    AND record.end_user <> '')
            LIMIT %s
            """,
            [text, MOST],
        )
        for team_id, name in cursor.fetchall():
            url = reverse("console:customer", args=[team_id])
            yield Match("User tag", name, url)


def _by_upstream_id(text: str, before: date | None) -> tuple[UUID | None, date | None]:
    """Return the request with an upstream's id, and the earliest day that was searched.

    The day is None once all requests were searched.
    """
    oldest = UsageRecord.objects.order_by("created_at").values_list("created_at", flat=True).first()
    if oldest is None:
        return None, None
    deadline = time.monotonic() + SEARCH_SECONDS
    end = datetime.combine(before, datetime.min.time(), UTC) if before else timezone.now()
    while end > oldest:
        start = (end - timedelta(microseconds=1)).replace(hour=0, minute=0, second=0, microsecond=0)
        found = UsageRecord.objects.filter(created_at__gte=start, created_at__lte=end)
        record_id = found.filter(upstream_request_id=text).values_list("pk", flat=True).first()
        if record_id is not None:
            return record_id, None
        end = start
        if time.monotonic() > deadline:
            return None, (end.date() if end > oldest else None)
    return None, None


def _uuid_of(text: str) -> UUID | None:
    for prefix in ("video-", "video_", "chatcmpl-", "req_", "req-"):
        text = text.removeprefix(prefix)
    try:
        return UUID(text) if len(text) >= 32 else None
    except ValueError:
        return None


def _customer(team: Team, kind: str) -> Match:
    return Match(kind, team.name, reverse("console:customer", args=[team.pk]))


def _request(request_id: UUID, kind: str) -> Match:
    url = reverse("admin:billing_usagerecord_change", args=[request_id])
    return Match(kind, str(request_id), url)
