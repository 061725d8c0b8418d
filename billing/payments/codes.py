"""Promotional codes: redeemed exactly as often as they allow, and once by each team."""

from datetime import timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, Q
from django.utils import timezone

from accounts import audit
from accounts.access import Actor
from billing.ledger import postings
from billing.models import CodeRedemption, CreditCode
from billing.pricing.money import dollars_short_text

LONGEST_CODE = 40


class CodeError(Exception):
    """A code that is not redeemed; the message is for the customer."""


class CodeRefusedError(CodeError):
    """There is no such code, or it can't be used any more: which of them is nobody's to know."""

    def __init__(self) -> None:
        super().__init__("This code can't be redeemed: it is mistyped, expired or used up.")


class CodeUsedError(CodeError):
    """The team, or the person who asks, has had the code's credits."""


def normalised(text: str) -> str:
    """Returns a code as it is stored: without spaces, in capitals."""
    return "".join(text.split()).upper()


def redeem(actor: Actor, text: str, *, ip_address: str | None = None) -> CodeRedemption:
    """Redeems a code for the actor's team: its credits, the count and the log are one transaction.

    A person redeems a code for one of their teams only, since they may make any number of them.
    Raises CodeUsedError, and CodeRefusedError for everything else.
    """
    code = _find(text)
    if code is None:
        raise CodeRefusedError
    account = postings.open_account(actor.team)
    try:
        with transaction.atomic():
            _count(code, actor)
            redemption = CodeRedemption.objects.create(code=code, team=actor.team, user=actor.user)
            now = timezone.now()
            postings.grant(
                account,
                code.amount_nanos,
                reference=f"code:{code.pk}:{actor.team.pk}",
                memo=f"Code {code.code}",
                expires_at=now + timedelta(days=code.credit_days) if code.credit_days else None,
            )
            audit.record(
                actor,
                "code.redeemed",
                code.code,
                detail={"amount": f"${dollars_short_text(code.amount_nanos)}"},
                ip_address=ip_address,
            )
    except IntegrityError:
        raise CodeUsedError("Your team has redeemed this code already.") from None
    return redemption


def _find(text: str) -> CreditCode | None:
    word = normalised(text)
    # PostgreSQL takes no NUL in a text.
    if not word or len(word) > LONGEST_CODE or "\0" in word:
        return None
    return CreditCode.objects.filter(code=word).first()


def _count(code: CreditCode, actor: Actor) -> None:
    """Counts a redemption. From here to the end of the transaction the code's row is the team's.

    Raises CodeError, and undoes nothing: the caller's transaction does.
    """
    usable = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    counted = CreditCode.objects.filter(
        usable, pk=code.pk, is_active=True, redemptions__lt=F("redemptions_limit")
    ).update(redemptions=F("redemptions") + 1)
    used = CodeRedemption.objects.filter(code=code)
    if used.filter(team=actor.team).exists():
        raise CodeUsedError("Your team has redeemed this code already.")
    if not counted:
        raise CodeRefusedError
    if actor.user is not None and used.filter(user=actor.user).exists():
        raise CodeUsedError("You have redeemed this code for another team already.")
