"""A team's requests: those that a filter selects, and all that is known of one."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from functools import partial
from uuid import UUID

from django.db.models import QuerySet

from accounts.access import Actor
from accounts.models import ApiKey
from api.models import Model, VideoJob
from api.operations import OPERATIONS
from api.operations.base import Operation
from billing.models import (
    ContractPrice,
    CreditAccount,
    PriceVersion,
    Reservation,
    Transfer,
    UsageRecord,
)
from billing.usage.records import Selection, narrowed, records, retries_of
from portal.access import without_chat_keys
from portal.ui.paging import PAGE_ROWS, Place, RowPage, batches_of, page_of
from portal.usage.presenters import ChargePresenter

_UNSHOWN = ("attempts", "error")  # the long ones


def inference_keys(actor: Actor) -> list[ApiKey]:
    """Return the keys to filter by, without the chats' own: too many, and unknown to anyone."""
    keys = without_chat_keys(actor.visible_keys().filter(scope=ApiKey.Scope.INFERENCE))
    return list(keys.order_by("revoked_at", "name", "pk"))


def key_names(
    actor: Actor, records: list[UsageRecord] | None = None, known: Sequence[ApiKey] = ()
) -> dict[int, str]:
    """Return the names of the team's keys by their ids: of all, or at least those of the records.

    Only keys that are not among those `known` are looked up.
    """
    names = {key.pk: key.name for key in known}
    keys = actor.visible_keys()
    if records is not None:
        missing = {record.key_id for record in records} - names.keys()
        keys = keys.filter(pk__in=missing) if missing else keys.none()
    return names | dict(keys.values_list("pk", "name"))


def account_id_of(actor: Actor) -> int:
    """Return the id of the team's account, or 0, which is no account's, if there is none yet."""
    account = getattr(actor.team, "credit_account", None)  # read once for a page and its shell
    return account.pk if account is not None else 0


def requests_page(
    selection: Selection, *, before: Place | None, after: Place | None
) -> RowPage[UsageRecord]:
    """Return a page of the selected requests, the newest first."""
    return page_of(partial(_near, selection), before=before, after=after)


def request_batches(selection: Selection) -> Iterator[list[UsageRecord]]:
    """Yield all selected requests, the newest first."""
    return batches_of(records(selection).defer(*_UNSHOWN))


def charge_of(account_id: int, request_id: UUID) -> ChargePresenter | None:
    """Return the request's charge; None if the account has no such request."""
    account = CreditAccount.objects.filter(pk=account_id).first()
    if account is None:
        return None
    reservation = Reservation.objects.filter(pk=request_id, account=account).first()
    record = UsageRecord.objects.filter(pk=request_id, account=account).first()
    known = record or reservation
    if known is None:
        return None
    transfers = Transfer.objects.filter(
        kind=Transfer.Kind.USAGE, reference=str(request_id), customer=account
    )
    return ChargePresenter(
        request_id=request_id,
        account=account,
        reservation=reservation,
        record=record,
        price=PriceVersion.objects.filter(pk=known.price_version_id).first(),
        transfer=transfers.first(),
        key=ApiKey.objects.filter(pk=known.key_id, team=account.team_id).first(),
        video=VideoJob.objects.filter(pk=request_id, account=account).first(),
        operation=_operation_of(record.endpoint if record else "", known.model),
        retries=retries_of(record) if record else [],
        contract=ContractPrice.objects.filter(pk=record.contract_id, team=account.team_id).first()
        if record and record.contract_id
        else None,
    )


def _operation_of(endpoint: str, model: str) -> Operation | None:
    """Return the operation that a record names, or, if none does, one that its model serves.

    A request without a settlement has left no endpoint. Return None where neither is known.
    """
    if endpoint:
        return OPERATIONS.get(endpoint)
    kind = Model.objects.filter(name=model).values_list("kind", flat=True).first()
    return next((each for each in OPERATIONS.values() if kind and each.model_kind == kind), None)


def _near(selection: Selection, **near: datetime | None) -> QuerySet[UsageRecord]:
    return narrowed(selection, PAGE_ROWS + 1, **near).defer(*_UNSHOWN)


def near_in_session(
    account_id: int,
    session_id: str,
    *,
    before: datetime | None = None,
    after: datetime | None = None,
) -> QuerySet[UsageRecord]:
    """Return the requests of a session, which an index has in their order."""
    found = UsageRecord.objects.filter(account_id=account_id, session_id=session_id)
    return found.defer(*_UNSHOWN)
