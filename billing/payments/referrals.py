"""Referrals: a team that another brought pays for the first time, and both get credits, once."""

import secrets
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef
from django.utils import timezone

from accounts.models import Membership, Team
from billing.ledger import postings
from billing.models import (
    CreditAccount,
    Dispute,
    FraudWarning,
    Order,
    Referral,
    ReferralLink,
    Refund,
)
from billing.pricing.money import NANOS_PER_CENT, nanos_from_dollars

log = structlog.get_logger(__name__)

# Told apart at a glance, and by ear.
_LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"
_LENGTH = 10
LONGEST_CODE = 20


def credit_nanos() -> int:
    """Returns what each of the two gets; 0: there are no referrals."""
    return nanos_from_dollars(settings.REFERRAL_CREDIT_DOLLARS)


def link_of(team: Team) -> ReferralLink:
    """Returns the team's link, which is made where there is none."""
    for _ in range(3):
        code = "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))
        try:
            with transaction.atomic():
                return ReferralLink.objects.get_or_create(team=team, defaults={"code": code})[0]
        except IntegrityError:
            continue  # Another team has the code.
    raise RuntimeError("No free referral code in three attempts.")


def find_link(code: str) -> ReferralLink | None:
    """Returns the link of a code that came from outside, while there are referrals."""
    if credit_nanos() == 0 or not code.isascii() or not code.isalnum() or len(code) > LONGEST_CODE:
        return None
    return ReferralLink.objects.select_related("team").filter(code=code.lower()).first()


def note_sign_up(team: Team, code: str) -> Referral | None:
    """Writes down that a new team came by a link; None: by none that counts.

    Nobody refers a team that they share a member with.
    """
    link = find_link(code)
    if link is None or link.team_id == team.pk or _share_a_member(team.pk, link.team_id):
        return None
    return Referral.objects.get_or_create(team=team, defaults={"referrer": link.team})[0]


def due(row_limit: int = 500) -> list[int]:
    """Returns the ids of the referred teams whose payment counts and that were not rewarded.

    It counts when it is as large as the credit at least (who pays five dollars to refer themselves
    gains nothing), has stood for REFERRAL_WAIT_DAYS, and was neither given back, disputed nor
    warned of.
    """
    amount_nanos = credit_nanos()
    if amount_nanos == 0:
        return []
    stood = timezone.now() - timedelta(days=settings.REFERRAL_WAIT_DAYS)
    order = {"order": OuterRef("pk")}
    given_back = Refund.objects.filter(**order).exclude(state__in=Refund.CAME_TO_NOTHING)
    disputed = Dispute.objects.filter(**order).exclude(is_reinstated=True)
    warned = FraudWarning.objects.filter(**order)
    payments = Order.objects.filter(
        ~Exists(given_back),
        ~Exists(disputed),
        ~Exists(warned),
        team=OuterRef("team"),
        state=Order.State.PAID,
        amount_cents__gte=-(-amount_nanos // NANOS_PER_CENT),
        ended_at__lte=stood,
    )
    waiting = Referral.objects.filter(
        Exists(payments),
        rewarded_at=None,
        team__suspended_at=None,
        referrer__suspended_at=None,
    )
    return list(waiting.order_by("created_at").values_list("pk", flat=True)[:row_limit])


def reward(team_id: int) -> bool:
    """Gives both teams their credit, all or nothing; False: they have had it, or never will.

    Call it for a team that is due.
    """
    amount_nanos = credit_nanos()
    with transaction.atomic():
        referral = (
            Referral.objects.select_for_update(of=("self",), skip_locked=True)
            .select_related("team", "referrer")
            .filter(team=team_id, rewarded_at=None)
            .first()
        )
        if referral is None or amount_nanos == 0:
            return False
        if _share_a_member(referral.team_id, referral.referrer_id):
            log.info("referral_of_oneself", team=referral.team.slug)
            referral.delete()
            return False
        referral.rewarded_at = timezone.now()
        referral.save(update_fields=["rewarded_at"])
        for account, part in _accounts(referral):
            postings.grant(
                account,
                amount_nanos,
                reference=f"referral:{team_id}:{part}",
                memo="Referral credit",
            )
    return True


def rewarded_count(team: Team) -> int:
    """Returns how many teams that this one brought have earned it credits."""
    return Referral.objects.filter(referrer=team, rewarded_at__isnull=False).count()


def _accounts(referral: Referral) -> list[tuple[CreditAccount, str]]:
    """Returns whom to credit, in the order in which accounts are always locked."""
    pairs = [
        (postings.open_account(referral.team), "referred"),
        (postings.open_account(referral.referrer), "referrer"),
    ]
    return sorted(pairs, key=lambda pair: pair[0].pk)


def _share_a_member(team_id: int, other_id: int) -> bool:
    others = Membership.objects.filter(team=other_id, user=OuterRef("user"))
    return Membership.objects.filter(Exists(others), team=team_id).exists()
