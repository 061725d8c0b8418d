"""Banners above every page of a team: what stops it from working, or soon costs more."""

from dataclasses import dataclass
from typing import Any

from django.db.models import Exists, F, OuterRef, Subquery
from django.urls import reverse
from django.utils import timezone
from django.utils.text import capfirst
from django.utils.translation import gettext as _

from accounts.access import Actor
from accounts.models import Team
from accounts.zones import moment_text
from api.catalogue.price_changes import changes_for
from api.models import KeyIncident
from billing.models import AutoTopUp, CreditAccount, PriceVersion, Subscription
from billing.payments.disputes import PAUSE_REASONS

MOST_PRICE_CHANGES = 3


@dataclass(frozen=True)
class Banner:
    """One banner: its alert style, a bold title, what to do, and where; `url` may be empty."""

    kind: str
    icon: str
    title: str
    text: str
    url: str = ""
    action: str = ""


def banners_for(actor: Actor, account: CreditAccount | None, contact_email: str) -> list[Banner]:
    """Return the banners of the actor's team, the worst first.

    It takes one query, and more only while a price change is announced.
    """
    row = _state_of(actor.team)
    found = [
        _suspension(actor, contact_email),
        _frozen_key(row["frozen_key"]),
        _plan(actor, row["plan_status"]),
        _top_up(actor, row["problem"], row["is_top_up_on"]),
    ]
    changes = _price_changes(account) if row["is_price_announced"] else []
    return [*(banner for banner in found if banner is not None), *changes]


def _suspension(actor: Actor, contact_email: str) -> Banner | None:
    """Return the banner of a team whose keys are rejected."""
    team = actor.team
    if team.suspended_at is None:
        return None
    url = f"mailto:{contact_email}" if contact_email else ""
    if team.suspended_reason in PAUSE_REASONS:
        return Banner(
            "bad",
            "ban",
            _("Your API keys are paused because a payment was disputed or reported as fraud."),
            _(
                "If you made the payment, tell your bank and contact us. Requests are rejected "
                "until this is resolved."
            ),
            url,
            _("Contact us") if url else "",
        )
    return Banner(
        "bad",
        "ban",
        _("This team is suspended."),
        _("Requests with its API keys are rejected. Contact us to resolve this."),
        url,
        _("Contact us") if url else "",
    )


def _frozen_key(key_id: int | None) -> Banner | None:
    """Return the banner of a key that was frozen for unusual use."""
    if key_id is None:
        return None
    title = _("An API key was frozen.")
    text = _("It spent far more than usual, or was used from a new network.")
    return Banner("warn", "pause", title, text, reverse("key", args=[key_id]), _("Review"))


def _state_of(team: Team) -> dict[str, Any]:
    """Return what banners are about: the plan's and auto top-up's state, and prices to come."""
    subscriptions = Subscription.objects.filter(
        team=OuterRef("pk"), stripe_id__isnull=False, ended_at__isnull=True
    )
    top_ups = AutoTopUp.objects.filter(team=OuterRef("pk"))
    incidents = KeyIncident.objects.filter(
        key__team=OuterRef("pk"),
        key__frozen_at__lte=F("created_at"),
        key__is_frozen_by_team=True,
        key__revoked_at__isnull=True,
        is_frozen=True,
    ).order_by("-pk")
    announced = PriceVersion.objects.filter(announces=True, effective_from__gt=timezone.now())
    row = (
        Team.objects.filter(pk=team.pk)
        .values(
            plan_status=Subquery(subscriptions.values("status")[:1]),
            frozen_key=Subquery(incidents.values("key")[:1]),
            problem=Subquery(top_ups.values("problem")[:1]),
            is_top_up_on=Subquery(top_ups.values("is_enabled")[:1]),
            is_price_announced=Exists(announced),
        )
        .get()
    )
    return dict(row)


def _plan(actor: Actor, status: str | None) -> Banner | None:
    unpaid, late = Subscription.Status.UNPAID, Subscription.Status.PAST_DUE
    if status not in {unpaid, late}:
        return None
    if status == unpaid:
        title = _("Your plan is unpaid.")
        text = _("Your team is on the free plan’s limits until the open invoice is paid.")
    else:
        title = _("The payment for your plan failed.")
        text = _("Your limits stay for now. Update the card to keep the plan.")
    return _billing_banner(actor, "warn", title, text, "plan")


def _top_up(actor: Actor, problem: str | None, is_on: bool | None) -> Banner | None:
    """Return the banner of auto top-up that needs its owner; a reached limit is no failure."""
    if problem == AutoTopUp.Problem.DECLINED and not is_on:
        title = _("Auto top-up was turned off.")
        text = _("Your card was declined several times in a row.")
    elif problem == AutoTopUp.Problem.DECLINED:
        title, text = _("Auto top-up failed."), _("Your card was declined. We’ll retry it.")
    elif problem == AutoTopUp.Problem.AUTHENTICATION:
        title = _("Auto top-up is paused.")
        text = _("Your bank requires you to confirm the payment.")
    elif problem == AutoTopUp.Problem.NO_CARD:
        title, text = _("Auto top-up is paused."), _("There is no card to charge.")
    else:
        return None
    return _billing_banner(actor, "warn", title, text, "auto-top-up")


def _billing_banner(actor: Actor, kind: str, title: str, text: str, place: str) -> Banner:
    """Return a banner about payments; members without billing are told whom to ask."""
    if actor.may_see_billing:
        url = f"{reverse('billing')}#{place}"
        return Banner(kind, "credit-card", title, text, url, _("Go to billing"))
    ask = _("Ask an owner or admin of the team.")
    return Banner(kind, "credit-card", title, f"{text} {ask}")


def _price_changes(account: CreditAccount | None) -> list[Banner]:
    """Return a banner for each announced change of the price of a model that the team uses."""
    return [
        Banner(
            "",
            "tag",
            _("The price of {model} changes on {moment}.").format(
                model=change.model, moment=moment_text(change.effective_from)
            ),
            capfirst(change.text),
            reverse("models"),
            _("View prices"),
        )
        for change in changes_for(account, timezone.now())[:MOST_PRICE_CHANGES]
    ]
