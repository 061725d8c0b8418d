"""Free credits: promotional codes and referrals. Each is granted exactly once."""

import secrets
from contextlib import suppress
from datetime import timedelta

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet, Sum
from django.utils import timezone
from django.utils.translation import gettext

from accounts import audit
from accounts.access import Actor
from accounts.mailboxes import known_digests, mailbox_digest
from accounts.models import Membership, Team, User
from billing.ledger import postings
from billing.models import (
    CodeRedemption,
    CreditAccount,
    CreditCode,
    Dispute,
    FraudWarning,
    Order,
    Referral,
    ReferralLink,
    Refund,
    Transfer,
)
from billing.payments.refundable_part import refundable_part
from billing.pricing.money import NANOS_PER_CENT, dollars_short_text, nanos_from_dollars

log = structlog.get_logger(__name__)

CODE_MAX_LENGTH = 40
REFERRAL_CODE_MAX_LENGTH = 20
# Without characters that are confused in reading or when spoken.
_REFERRAL_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_REFERRAL_CODE_LENGTH = 10


class CodeError(Exception):
    """A code that can't be redeemed; the message is for the customer."""


class CodeInvalidError(CodeError):
    """The code does not exist or is no longer valid. The message does not reveal which."""

    def __init__(self) -> None:
        super().__init__(gettext("This code is invalid, expired or used up."))


class CodeUsedError(CodeError):
    """The team, or the person redeeming it, has already redeemed the code."""


class StaffCodeError(CodeError):
    """A member of the team administers promotional codes, and could make their own."""

    def __init__(self) -> None:
        super().__init__(
            gettext("This team can't redeem codes because one of its members manages them.")
        )


def normalise_code(text: str) -> str:
    """Return a code as it is stored: without spaces, in capitals."""
    return "".join(text.split()).upper()


def redeem_code(actor: Actor, text: str, *, ip_address: str | None = None) -> CodeRedemption:
    """Redeem a code for the actor's team: credits, count and audit entry in one transaction.

    A person may redeem a code for one team only, since anyone can create any number of teams, and
    a mailbox only once: its digest outlives the account. A team with a member who may view or
    create codes in the admin (as superusers may) can't redeem any.
    Raise StaffCodeError, CodeUsedError, and CodeInvalidError for everything else.
    """
    if _administers_codes(actor.team):
        raise StaffCodeError
    code = _find_code(text)
    if code is None:
        raise CodeInvalidError
    account = postings.open_account(actor.team)
    try:
        with transaction.atomic():
            _count_redemption(code, actor)
            redemption = CodeRedemption.objects.create(
                code=code,
                team=actor.team,
                user=actor.user,
                mailbox_digest=mailbox_digest(actor.user.email) if actor.user else "",
            )
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
        raise CodeUsedError(
            gettext("Your team or mailbox has already redeemed this code.")
        ) from None
    return redemption


def referral_credit_nanos() -> int:
    """Return the credit that each of the two teams gets; 0 if referrals are off."""
    return nanos_from_dollars(settings.REFERRAL_CREDIT_DOLLARS)


def get_or_create_referral_link(team: Team) -> ReferralLink:
    """Return the team's referral link, created if there is none."""
    for _ in range(3):
        code = "".join(secrets.choice(_REFERRAL_ALPHABET) for _ in range(_REFERRAL_CODE_LENGTH))
        try:
            with transaction.atomic():
                return ReferralLink.objects.get_or_create(team=team, defaults={"code": code})[0]
        except IntegrityError:
            continue  # another team has this code
    raise RuntimeError("No free referral code in three attempts.")


def find_referral_link(code: str) -> ReferralLink | None:
    """Return the link with this code from outside, or None, also if referrals are off."""
    is_code = code.isascii() and code.isalnum() and len(code) <= REFERRAL_CODE_MAX_LENGTH
    if referral_credit_nanos() == 0 or not is_code:
        return None
    return ReferralLink.objects.select_related("team").filter(code=code.lower()).first()


def record_referral(team: Team, code: str) -> Referral | None:
    """Record that a new team signed up through a link, or return None for an invalid one.

    Teams that share a member can't refer each other.
    """
    link = find_referral_link(code)
    if link is None or link.team_id == team.pk or _share_a_member(team.pk, link.team_id):
        return None
    return Referral.objects.get_or_create(team=team, defaults={"referrer": link.team})[0]


def due_referrals(row_limit: int = 500) -> list[int]:
    """Return the ids of referred teams with a qualifying payment and no reward yet."""
    if referral_credit_nanos() == 0:
        return []
    due = Referral.objects.filter(
        Exists(_qualifying_orders().filter(team=OuterRef("team"))),
        rewarded_at=None,
        team__suspended_at=None,
        referrer__suspended_at=None,
    )
    return list(due.order_by("created_at").values_list("pk", flat=True)[:row_limit])


def reward_referral(team_id: int) -> bool:
    """Credit both teams of a due referral, in one transaction.

    Return False if they have been credited already, or never will be as they now share a member.
    """
    amount_nanos = referral_credit_nanos()
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
            log.info("referral_rejected", reason="shared_member", team=referral.team.slug)
            referral.delete()
            return False
        referral.order = _qualifying_orders().filter(team=team_id).order_by("ended_at").first()
        if referral.order is None:
            return False
        referral.rewarded_at = timezone.now()
        referral.save(update_fields=["rewarded_at", "order"])
        for account, role in _accounts_to_credit(referral):
            postings.grant(
                account,
                amount_nanos,
                reference=f"referral:{team_id}:{role}",
                memo="Referral credit",
            )
    return True


def follow_payments() -> int:
    """Take back the credit of referrals whose payment was reversed; return it once that is undone.

    Also collect what is still owed for them. Return the number of referrals that changed.
    """
    order = {"order": OuterRef("order")}
    reversed_orders = Exists(Refund.objects.filter(**order)) | Exists(
        Dispute.objects.filter(**order, is_withdrawn=True)
    )
    found = Referral.objects.filter(reversed_orders, order__isnull=False)
    changed = sum(_follow_payment(pk) for pk in found.values_list("pk", flat=True))
    _collect_debts()
    return changed


def _follow_payment(team_id: int) -> bool:
    """Take a referral's credit back, or return it, depending on what is left of its payment."""
    with transaction.atomic():
        referral = Referral.objects.select_related("team", "referrer").get(pk=team_id)
        assert referral.order_id is not None  # noqa: S101 - `follow_payments` asked for it
        order = Order.objects.select_for_update().get(pk=referral.order_id)
        referral.refresh_from_db(fields=["taken_back_at", "returns"])
        given_nanos = _given_nanos(team_id)
        is_reversed = refundable_part(order).amount_cents * NANOS_PER_CENT < given_nanos
        if is_reversed == (referral.taken_back_at is not None):
            return False
        for account, role in _accounts_to_credit(referral):
            grant = f"referral:{team_id}:{role}"
            claw_back = f"{grant}:{referral.returns}"
            if is_reversed:
                postings.take_back_grant(
                    account,
                    given_nanos,
                    reference=claw_back,
                    grant_reference=grant,
                    most_owed_nanos=given_nanos,
                    memo="Referral credit",
                )
            else:
                with suppress(postings.UnknownReferenceError):  # all of it had expired
                    postings.reverse_claw_back(account, reference=claw_back, memo="Referral credit")
        referral.taken_back_at = timezone.now() if is_reversed else None
        referral.returns += 0 if is_reversed else 1
        referral.save(update_fields=["taken_back_at", "returns"])
    return True


def _given_nanos(team_id: int) -> int:
    """Return what each of the two teams of a referral was given."""
    granted = Transfer.objects.filter(
        kind=Transfer.Kind.GRANT, reference=f"referral:{team_id}:referred"
    )
    return int(granted.aggregate(nanos=Sum("amount_nanos", default=0))["nanos"])


def _collect_debts() -> None:
    """Collect what was spent of credit that was taken back, once a team has that much."""
    ended = Transfer.objects.filter(
        kind__in=[Transfer.Kind.COLLECTION, Transfer.Kind.RECEIVABLE_REVERSAL],
        reference=OuterRef("reference"),
    )
    owed = Transfer.objects.filter(
        ~Exists(ended), kind=Transfer.Kind.RECEIVABLE, reference__startswith="referral:"
    )
    for debt in owed.select_related("owner").order_by("pk"):
        if debt.owner is None:
            continue
        with suppress(postings.InsufficientCreditsError, postings.UnknownReferenceError):
            postings.collect(debt.owner, reference=debt.reference, memo="Referral credit")


def rewarded_referral_count(team: Team) -> int:
    """Return how many teams referred by this one have earned it credits."""
    return Referral.objects.filter(referrer=team, rewarded_at__isnull=False).count()


def _qualifying_orders() -> QuerySet[Order]:
    """Return the payments that earn a referral's credit.

    A payment qualifies if it is at least the credit (so paying five dollars to refer oneself gains
    nothing), is REFERRAL_WAIT_DAYS old, and was neither refunded, disputed nor warned about.
    """
    order = {"order": OuterRef("pk")}
    return Order.objects.filter(
        ~Exists(Refund.objects.filter(**order).exclude(state__in=Refund.UNSUCCESSFUL_STATES)),
        ~Exists(Dispute.objects.filter(**order).exclude(is_reinstated=True)),
        ~Exists(FraudWarning.objects.filter(**order)),
        state=Order.State.PAID,
        amount_cents__gte=-(-referral_credit_nanos() // NANOS_PER_CENT),
        ended_at__lte=timezone.now() - timedelta(days=settings.REFERRAL_WAIT_DAYS),
    )


def _administers_codes(team: Team) -> bool:
    """Return whether a member of the team may see, make or change codes in the admin."""
    staff = User.objects.filter(memberships__team=team, is_staff=True, is_active=True)
    permissions = [f"billing.{verb}_creditcode" for verb in ("view", "add", "change")]
    return any(member.has_perm(each) for member in staff for each in permissions)


def _find_code(text: str) -> CreditCode | None:
    code = normalise_code(text)
    # PostgreSQL text can't hold NUL.
    if not code or len(code) > CODE_MAX_LENGTH or "\0" in code:
        return None
    return CreditCode.objects.filter(code=code).first()


def _count_redemption(code: CreditCode, actor: Actor) -> None:
    """Count a redemption, which also locks the code's row until the transaction ends.

    Raise CodeError; the caller's transaction then undoes the count.
    """
    usable = Q(expires_at=None) | Q(expires_at__gt=timezone.now())
    counted = CreditCode.objects.filter(
        usable, pk=code.pk, is_active=True, redemptions__lt=F("redemptions_limit")
    ).update(redemptions=F("redemptions") + 1)
    redemptions = CodeRedemption.objects.filter(code=code)
    if redemptions.filter(team=actor.team).exists():
        raise CodeUsedError(gettext("Your team has already redeemed this code."))
    if not counted:
        raise CodeInvalidError
    if actor.user is None:
        return
    is_theirs = Q(user=actor.user) | Q(mailbox_digest__in=known_digests(actor.user.email))
    if redemptions.filter(is_theirs).exists():
        raise CodeUsedError(
            gettext("You have already redeemed this code for another team or account.")
        )


def _accounts_to_credit(referral: Referral) -> list[tuple[CreditAccount, str]]:
    """Return both accounts with their role, in the order in which accounts are always locked."""
    pairs = [
        (postings.open_account(referral.team), "referred"),
        (postings.open_account(referral.referrer), "referrer"),
    ]
    return sorted(pairs, key=lambda pair: pair[0].pk)


def _share_a_member(team_id: int, other_id: int) -> bool:
    others = Membership.objects.filter(team=other_id, user=OuterRef("user"))
    return Membership.objects.filter(Exists(others), team=team_id).exists()
