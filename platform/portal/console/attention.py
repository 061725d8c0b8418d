"""What needs staff's attention, with the page to handle it on. Reads only small tables."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

from django.db.models import Count, F, Sum
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from api.models import Upstream, UsageSource
from billing.models import (
    ContractPrice,
    Dispute,
    FraudWarning,
    LedgerAlert,
    ManualPosting,
    Refund,
    ServiceHour,
    StripeEvent,
    TaskRun,
)
from billing.tasks import PROOF_TASK
from billing.usage.overview import ROLL_UP_TASK
from portal.ui.money import cents

ROWS = 5
REFUND_STUCK_AFTER = timedelta(minutes=15)
PENDING_STUCK_AFTER = timedelta(days=10)
CELERY_LATE_AFTER = timedelta(minutes=5)
PROOF_LATE_AFTER = timedelta(hours=30)
# An upstream counts as failing if it had at least this many requests in the last two hours and half
# of them failed.
OUT_REQUESTS = 5


@dataclass(frozen=True)
class Concern:
    """Something to handle: a text, the page to handle it on, and its urgency as a badge."""

    text: str
    url: str
    badge: str = "warn"


def concerns_for(staff: User) -> list[Concern]:
    """Return the concerns that the member of staff may view, urgent ones first."""
    found = [
        concern
        for permission, finder in _FINDERS
        if staff.has_perm(permission)
        for concern in finder()
    ]
    return sorted(found, key=lambda concern: concern.badge != "bad")


def _alerts() -> Iterator[Concern]:
    open_ones = LedgerAlert.objects.filter(handled_at__isnull=True)
    url = reverse("admin:billing_ledgeralert_changelist")
    for row in open_ones.order_by().values("kind").annotate(found=Count("pk")).order_by("kind"):
        kind, count = row["kind"], row["found"]
        text = f"{count:,} alert{'' if count == 1 else 's'}: {kind.replace('_', ' ')}"
        badge = "bad" if kind in {"invariant", "spool_failed"} else "warn"
        yield Concern(text, f"{url}?kind={kind}&handled_at__isempty=1", badge)


def _disputes() -> Iterator[Concern]:
    cases = Dispute.objects.filter(handled_at__isnull=True).select_related(
        "order", "subscription_payment"
    )
    now = timezone.now()
    for case in cases.order_by(F("evidence_due_at").asc(nulls_last=True), "created_at")[:ROWS]:
        due = case.evidence_due_at
        when = f", evidence due {due:%Y-%m-%d %H:%M} UTC" if due else ""
        is_soon = due is not None and due < now + timedelta(days=2)
        url = f"{reverse('admin:billing_dispute_changelist')}?queue=open"
        yield Concern(f"Dispute of {case.payment}{when}", url, "bad" if is_soon else "warn")


def _warnings() -> Iterator[Concern]:
    count = FraudWarning.objects.filter(handled_at__isnull=True).count()
    if count:
        url = f"{reverse('admin:billing_fraudwarning_changelist')}?queue=open"
        yield Concern(f"{count:,} early fraud warning{'' if count == 1 else 's'}", url)


def _refunds() -> Iterator[Concern]:
    now = timezone.now()
    url = reverse("admin:billing_refund_changelist")
    for state, patience, words in (
        (Refund.State.REQUESTED, REFUND_STUCK_AFTER, "Stripe has not responded"),
        (Refund.State.PENDING, PENDING_STUCK_AFTER, "pending for more than ten days"),
    ):
        count = Refund.objects.filter(state=state, created_at__lt=now - patience).count()
        if count:
            text = f"{count:,} refund{' is' if count == 1 else 's are'} stuck: {words}"
            yield Concern(text, f"{url}?state__exact={state}")


def _postings() -> Iterator[Concern]:
    count = ManualPosting.objects.filter(state=ManualPosting.State.PENDING).count()
    if count:
        url = f"{reverse('admin:billing_manualposting_changelist')}?state__exact=pending"
        yield Concern(f"{count:,} posting{'' if count == 1 else 's'} to confirm", url)


def _contracts() -> Iterator[Concern]:
    count = ContractPrice.objects.filter(state=ContractPrice.State.PENDING).count()
    if count:
        url = f"{reverse('admin:billing_contractprice_changelist')}?state__exact=pending"
        yield Concern(f"{count:,} contract price{'' if count == 1 else 's'} to confirm", url)


def _upstreams() -> Iterator[Concern]:
    since = timezone.now() - timedelta(hours=2)
    rows = ServiceHour.objects.filter(hour__gte=since).exclude(upstream="").order_by()
    sums = rows.values("upstream").annotate(failed=Sum("errors"), asked=Sum("requests"))
    ids = dict(Upstream.objects.values_list("name", "pk"))
    for row in sums.order_by("upstream"):
        if row["asked"] >= OUT_REQUESTS and 2 * row["failed"] >= row["asked"]:
            name, pk = row["upstream"], ids.get(row["upstream"])
            text = f"{name} is failing: {row['failed']:,} of {row['asked']:,} requests in two hours"
            lists = reverse("admin:api_upstream_changelist")
            url = reverse("admin:api_upstream_change", args=[pk]) if pk else lists
            yield Concern(text, url, "bad")
    for name, pk in Upstream.objects.filter(is_enabled=False).values_list("name", "pk"):
        yield Concern(f"{name} is disabled", reverse("admin:api_upstream_change", args=[pk]))
    drained = Upstream.objects.filter(is_enabled=True, drains_at__lte=timezone.now())
    for name, pk in drained.values_list("name", "pk"):
        yield Concern(f"{name} is drained", reverse("admin:api_upstream_change", args=[pk]))


def _usage_sources() -> Iterator[Concern]:
    unread = UsageSource.objects.filter(is_enabled=True).exclude(error="")
    for pk, name in unread.order_by("pk").values_list("pk", "upstream__name"):
        yield Concern(f"{name}'s usage could not be read", reverse("console:usage", args=[pk]))


def _webhooks() -> Iterator[Concern]:
    count = StripeEvent.objects.filter(state=StripeEvent.State.FAILED).count()
    if count:
        url = f"{reverse('admin:billing_stripeevent_changelist')}?state__exact=failed"
        yield Concern(f"{count:,} Stripe event{'' if count == 1 else 's'} failed", url, "bad")


def _losses() -> Iterator[Concern]:
    since = timezone.now() - timedelta(days=1)
    rows = ServiceHour.objects.filter(hour__gte=since).order_by().values("model", "upstream")
    sums = rows.annotate(revenue=Sum("charged_nanos"), cost=Sum("upstream_cost_nanos"))
    for row in sums.filter(cost__gt=F("revenue")).order_by(F("revenue") - F("cost"))[:ROWS]:
        loss = cents(row["cost"] - row["revenue"])
        at = f" at {row['upstream']}" if row["upstream"] else ""
        url = f"{reverse('admin:billing_priceversion_changelist')}?q={row['model']}"
        yield Concern(f"{row['model']}{at} lost {loss} in a day", url)


def _celery() -> Iterator[Concern]:
    now = timezone.now()
    runs = {run.name: run for run in TaskRun.objects.filter(pk__in=[ROLL_UP_TASK, PROOF_TASK])}
    url = reverse("admin:billing_taskrun_changelist")
    rolled_up, proof = runs.get(ROLL_UP_TASK), runs.get(PROOF_TASK)
    if rolled_up is None:
        yield Concern("Celery has not run yet", url, "bad")
    elif rolled_up.finished_at < now - CELERY_LATE_AFTER:
        text = f"Celery is late: the last roll-up was at {rolled_up.finished_at:%Y-%m-%d %H:%M} UTC"
        yield Concern(text, url, "bad")
    if proof is None or proof.finished_at < now - PROOF_LATE_AFTER:
        when = f"since {proof.finished_at:%Y-%m-%d %H:%M} UTC" if proof else "yet"
        yield Concern(f"The ledger has not been proved {when}", url)


_FINDERS: list[tuple[str, Callable[[], Iterator[Concern]]]] = [
    ("billing.view_ledgeralert", _alerts),
    ("billing.view_dispute", _disputes),
    ("billing.view_fraudwarning", _warnings),
    ("billing.view_refund", _refunds),
    ("billing.view_manualposting", _postings),
    ("billing.view_contractprice", _contracts),
    ("api.view_upstream", _upstreams),
    ("billing.view_upstreamstatement", _usage_sources),
    ("billing.view_stripeevent", _webhooks),
    ("billing.view_servicehour", _losses),
    ("billing.view_taskrun", _celery),
]
