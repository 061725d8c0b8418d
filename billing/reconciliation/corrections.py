"""Corrections of estimated usage: what the customer paid is brought to the upstream's figures.

Only a request whose usage was estimated is corrected, once, and only after a person confirmed it.
The charge is computed at the price version, service tier and contract price that the request was
charged by. It
never exceeds what was held for the request: a customer who pays more than a hold would have paid
for something that no one bounded. Credits are always returned; a further charge is made whole or,
where the available balance doesn't cover it, not at all. The ledger's transfer is an `adjustment`
(adjustments ↔ customer) with the reference `correction:<request id>`.
"""

from collections.abc import Iterable, Iterator
from uuid import UUID

import structlog
from django.db import transaction

from accounts import audit
from accounts.audit import Staff
from accounts.models import Membership, User
from billing.failpoints import failpoint
from billing.ledger import postings
from billing.models import (
    ContractPrice,
    CreditAccount,
    PriceVersion,
    StatementLine,
    UpstreamStatement,
    UsageCorrection,
    UsageRecord,
)
from billing.pricing.charge import ChargeLine, Usage, charge_of
from billing.pricing.money import dollars_short_text
from billing.pricing.rates import Rates

log = structlog.get_logger(__name__)

# Requests with anything else, such as images, are priced by what an export doesn't have.
_CORRECTABLE = {"input", "cached_input", "output", "reasoning", "request"}
_BATCH_LINES = 1000

Correction, State = StatementLine.Correction, StatementLine.State


def plan(statement: UpstreamStatement) -> None:
    """Compute the correction of each estimated request of the statement, for a person to confirm.

    In the transaction that compares it.
    """
    last = 0
    while lines := list(_estimated(statement, last)):
        last = lines[-1].pk
        records = UsageRecord.objects.in_bulk([line.request_id for line in lines])
        prices = PriceVersion.objects.in_bulk({each.price_version_id for each in records.values()})
        done = UsageCorrection.objects.filter(pk__in=list(records))
        corrected = set(done.values_list("pk", flat=True))
        changed = []
        for line in lines:
            record = records.get(line.request_id)
            if record is None or line.request_id in corrected:
                continue
            nanos = balance_change(record, prices.get(record.price_version_id), line)
            if nanos:
                line.correction, line.correction_nanos = Correction.OPEN, nanos
                changed.append(line)
        StatementLine.objects.bulk_update(changed, ["correction", "correction_nanos"])


def balance_change(
    record: UsageRecord, price: PriceVersion | None, line: StatementLine
) -> int | None:
    """Return the change of the customer's balance at the line's figures, in nano-dollars.

    Negative is a further charge. None where it can't be computed.
    """
    used = {ChargeLine(*each).component for each in record.lines}
    if price is None or line.input_tokens is None or line.output_tokens is None:
        return None
    if not used <= _CORRECTABLE or record.source != UsageRecord.Source.ESTIMATED:
        return None
    rates = _rates_of(record, price)
    if rates is None:
        return None
    tier = next((ChargeLine(*each).service_tier for each in record.lines), "")
    cached = record.cached_tokens if line.cached_tokens is None else line.cached_tokens
    usage = Usage(
        input_tokens=line.input_tokens,
        cached_tokens=min(cached, line.input_tokens),
        output_tokens=line.output_tokens,
        # Exports don't say; it matters where reasoning has a price of its own.
        reasoning_tokens=min(record.reasoning_tokens, line.output_tokens),
        requests=1 if "request" in used or not used else 0,
    )
    charge_nanos = charge_of(rates.at_service_tier(tier), usage).total_nanos
    if charge_nanos <= record.charged_nanos:
        return record.charged_nanos - charge_nanos
    if record.written_off_nanos:
        return 0  # it took all that was available then
    return record.charged_nanos - max(
        record.charged_nanos, min(charge_nanos, record.reserved_nanos)
    )


def _rates_of(record: UsageRecord, price: PriceVersion) -> Rates | None:
    """Return the rates that a request was charged at, or None if its lines don't tell."""
    contracts = ContractPrice.objects.filter(team__credit_account=record.account_id)
    if not record.lines:
        return None if contracts.exists() else price.rates
    if record.contract_id is None:
        return price.rates
    return contracts.get(pk=record.contract_id).applied_to(price.rates)


def post_open(statement: UpstreamStatement, user: User) -> int:
    """Post the statement's open corrections, each in a transaction. Return how many were posted.

    Those of teams that the user belongs to stay open, unless the user is a superuser.
    """
    own = [] if user.is_superuser else list(_accounts_of(user))
    posted, last = 0, 0
    while ids := list(
        StatementLine.objects.filter(statement=statement, correction=Correction.OPEN, pk__gt=last)
        .order_by("pk")
        .values_list("pk", flat=True)[:_BATCH_LINES]
    ):
        posted += sum(correct(line_id, user, own) for line_id in ids)
        last = ids[-1]
    return posted


def correct(line_id: int, user: User, own_accounts: Iterable[int] = ()) -> bool:
    """Post the correction of a line that the user confirmed, and return whether this call did.

    A repeat changes nothing, whatever runs at the same time and whichever export names the request.
    """
    try:
        with transaction.atomic():
            line = StatementLine.objects.select_for_update().get(pk=line_id)
            if line.correction != Correction.OPEN or line.request_id is None:
                return False
            # Only now: what was compared again since, nobody has confirmed.
            confirmed = UpstreamStatement.objects.filter(
                pk=line.statement_id,
                state=UpstreamStatement.State.CORRECTING,
                confirmed_by=user,
            )
            if not confirmed.exists():
                return False
            return _post(line, line.request_id, user, own_accounts)
    except postings.InsufficientCreditsError:
        StatementLine.objects.filter(pk=line_id, correction=Correction.OPEN).update(
            correction=Correction.UNCOVERED
        )
    except postings.LedgerError as error:
        log.error("usage_not_corrected", line=line_id, error=str(error))
    return False


def _post(line: StatementLine, request_id: UUID, user: User, own_accounts: Iterable[int]) -> bool:
    record = UsageRecord.objects.select_related("account__team").get(pk=request_id)
    price = PriceVersion.objects.filter(pk=record.price_version_id).first()
    if record.account_id in own_accounts:
        return False
    if balance_change(record, price, line) != line.correction_nanos:
        # The record has changed since a person confirmed the amount.
        log.error("usage_correction_changed", request_id=str(request_id), line=line.pk)
        _close(line, Correction.NONE)
        return False
    # The request's row comes first: of two at once, the second one waits here and finds it.
    correction, is_new = UsageCorrection.objects.get_or_create(
        pk=request_id,
        defaults={
            "statement_id": line.statement_id,
            "line_number": line.line_number,
            "account_id": record.account_id,
            "input_tokens": line.input_tokens,
            "cached_tokens": line.cached_tokens or 0,
            "output_tokens": line.output_tokens,
            "charged_nanos": record.charged_nanos,
            "corrected_nanos": record.charged_nanos - line.correction_nanos,
            "confirmed_by": user,
        },
    )
    if not is_new:
        _close(line, Correction.POSTED)
        return False
    postings.adjust(
        record.account,
        correction.amount_nanos,
        reference=f"correction:{request_id}",
        memo=f"Estimated usage of request {request_id} corrected to the reported usage",
    )
    failpoint("after_usage_correction")
    _close(line, Correction.POSTED)
    if record.account.team is not None:
        cents = dollars_short_text(abs(correction.amount_nanos))
        detail = {"amount": f"{'-' if correction.amount_nanos < 0 else ''}${cents}"}
        audit.record(
            Staff(record.account.team, user), "usage.corrected", str(request_id), detail=detail
        )
    return True


def _close(line: StatementLine, correction: StatementLine.Correction) -> None:
    line.correction = correction
    line.save(update_fields=["correction"])


def _estimated(statement: UpstreamStatement, after: int) -> Iterator[StatementLine]:
    found = StatementLine.objects.filter(
        statement=statement,
        is_estimated=True,
        pk__gt=after,
        state__in=[State.EQUAL, State.DIFFERENT],
        correction=Correction.NONE,
    )
    yield from found.order_by("pk")[:_BATCH_LINES]


def _accounts_of(user: User) -> Iterator[int]:
    teams = Membership.objects.filter(user=user).values("team")
    yield from CreditAccount.objects.filter(team__in=teams).values_list("pk", flat=True)
