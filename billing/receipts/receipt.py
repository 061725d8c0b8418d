"""Receipts: what a request was held, used and charged, as a signed statement of what is on file."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import Q
from django.utils import timezone

from billing.models import (
    CreditAccount,
    PriceVersion,
    Reservation,
    Transfer,
    UsageCorrection,
    UsageRecord,
)
from billing.pricing.charge import ChargeLine
from billing.receipts.day_roots import leaves, proof_of
from billing.receipts.keys import sign

KIND = "receipt+jwt"


class RequestOpenError(Exception):
    """The request has not ended, so there is nothing to state yet."""


def claims_of(account_id: int, request_id: UUID) -> dict[str, Any] | None:
    """Return what is on file about a request; None if the account has no such request.

    Raise RequestOpenError.
    """
    account = CreditAccount.objects.filter(pk=account_id).first()
    if account is None:
        return None
    hold = Reservation.objects.filter(pk=request_id, account=account).first()
    record = UsageRecord.objects.filter(pk=request_id, account=account).first()
    if record is None and hold is not None:
        raise RequestOpenError
    if record is None:
        return None
    correction = UsageCorrection.objects.filter(pk=request_id, account=account).first()
    return {
        "iss": settings.BASE_URL,
        "iat": int(timezone.now().timestamp()),
        "request_id": str(request_id),
        "team": account.team_id,
        "key": record.key_id,
        "model": record.model,
        "endpoint": record.endpoint,
        "started_at": hold and hold.created_at.isoformat(),
        "ended_at": record.created_at.isoformat(),
        "outcome": record.outcome,
        "finish_reason": record.finish_reason,
        "is_late": record.is_late,
        "usage_source": record.source,
        "usage": {
            "input_tokens": record.input_tokens,
            "cached_tokens": record.cached_tokens,
            "output_tokens": record.output_tokens,
            "reasoning_tokens": record.reasoning_tokens,
            "images": record.images,
            "seconds": record.seconds,
            "pieces": record.pieces,
        },
        "price": _price(record),
        "lines": [_line(ChargeLine(*each)) for each in record.lines],
        "cost_by_component_nanos": {
            "input": record.input_nanos,
            "cached": record.cached_nanos,
            "output": record.output_nanos,
            "reasoning": record.reasoning_nanos,
            "units": record.units_nanos,
        },
        "held_nanos": record.reserved_nanos,
        "cost_nanos": record.cost_nanos,
        "written_off_nanos": record.written_off_nanos,
        "charged_nanos": record.charged_nanos,
        "corrected_nanos": correction and correction.corrected_nanos,
        "transfers": _transfers(account, request_id),
    }


def signed_receipt(claims: dict[str, Any]) -> str:
    """Return the receipt of these claims. Raise SigningUnavailableError."""
    return sign(claims, KIND)


def _price(record: UsageRecord) -> dict[str, Any]:
    version = PriceVersion.objects.filter(pk=record.price_version_id).first()
    return {
        "version": record.price_version_id,
        "effective_from": version and version.effective_from.isoformat(),
        "contract": record.contract_id,
    }


def _line(line: ChargeLine) -> dict[str, Any]:
    """Return a line; its amount is the quantity at its rate for each `per`, times the factor."""
    return {
        "component": line.component,
        "quantity": line.quantity,
        "rate_nanos": line.rate_nanos,
        "per": line.per,
        "factor_millionths": line.factor_millionths,
        "above_input_tokens": line.above_input_tokens,
        "service_tier": line.service_tier,
        "amount_nanos": line.amount_nanos,
    }


def _transfers(account: CreditAccount, request_id: UUID) -> list[dict[str, Any]]:
    """Return the transfers that the request and its correction made, each with its proof.

    A cost that was written off moved nothing on the customer's account: it is no leaf.
    """
    wanted = Q(kind=Transfer.Kind.USAGE, reference=str(request_id)) | Q(
        kind=Transfer.Kind.ADJUSTMENT, reference=f"correction:{request_id}"
    )
    found = []
    for transfer in Transfer.objects.filter(wanted, customer=account).order_by("sequence"):
        sequence = transfer.sequence or 0  # a customer's always has one
        (leaf,) = leaves(account, sequence, sequence)
        found.append({"transfer": leaf.fields, "proof": proof_of(account, sequence)})
    return found
