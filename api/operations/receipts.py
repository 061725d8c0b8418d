"""`GET …/receipts/{id}` and `GET …/day-roots`: signed statements of charges, and what proves them.

Inference keys and management keys get the same; the management API is `api.manage`.
"""

from collections.abc import Callable
from datetime import date
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import Meta, Struct

from api import errors
from api.gateway.http import ApiRequest
from api.gateway.look_ups import known_key, look_up
from api.gateway.process import Gateway
from api.operations.base import KEY_ERRORS, DocsPage, Operation, query_of
from api.operations.generation import EXAMPLE_ID, request_id_in
from api.phrases import Phrase
from billing.models import DayRoot
from billing.receipts import day_roots, receipt
from billing.receipts.keys import MEDIA_TYPE, SigningUnavailableError

ROOTS = 31
_HEADERS = [(b"cache-control", b"no-store")]
_CONTENT_TYPE = (b"content-type", MEDIA_TYPE.encode())

Signed = TypeVar("Signed")


class ReceiptQuery(Struct, kw_only=True):
    """The query of a receipt."""

    format: Annotated[
        Literal["jws", "json"],
        Meta(description="`json`: the JWS beside its claims, which are then readable."),
    ] = "jws"


class RootsQuery(Struct, kw_only=True):
    """The query of day roots."""

    limit: Annotated[int, Meta(description="Roots in a page.", ge=1, le=100)] = ROOTS
    before: Annotated[
        date | None, Meta(description="Only days before this one, such as the last of a page.")
    ] = None


async def show_receipt(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the receipt of one of the team's requests. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    query = query_of(request, ReceiptQuery)
    body = await look_up(
        admission.team_id, lambda: receipt_body(admission.account_id, request.argument, query)
    )
    await _respond(request, body, query.format)


async def show_roots(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with a page of the team's day roots. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    query = query_of(request, RootsQuery)
    page = await look_up(admission.team_id, lambda: roots_page(admission.account_id, query))
    await request.respond(msgspec.json.encode(page), headers=_HEADERS)


async def show_root(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with one day's signed root. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    statement = await look_up(
        admission.team_id, lambda: root_statement(admission.account_id, request.argument)
    )
    await _respond(request, statement, "jws")


def receipt_body(account_id: int, named: str, query: ReceiptQuery) -> str:
    """Return a receipt in the format that the query asks for.

    Raise NotFoundError, ConflictError while the request runs, and ServiceUnavailableError.
    """
    request_id = request_id_in(named)
    try:
        claims = receipt.claims_of(account_id, request_id) if request_id is not None else None
    except receipt.RequestOpenError:
        raise errors.ConflictError(
            Phrase("This request is still running. Its receipt is available once it has ended."),
            param="id",
            retry_after_seconds=5,
        ) from None
    if claims is None:
        raise errors.NotFoundError(
            Phrase(
                "Your team has no such request. Use the id in the header X-Request-Id of its "
                "response."
            ),
            param="id",
        )
    signed = _signed(lambda: receipt.signed_receipt(claims))
    if query.format == "jws":
        return signed
    return msgspec.json.encode({"jws": signed, "claims": claims}).decode()


def roots_page(account_id: int, query: RootsQuery) -> dict[str, Any]:
    """Return a page of roots, the latest first. Raise ServiceUnavailableError."""
    found = day_roots.roots_of(account_id, limit=query.limit + 1, before=query.before)
    signed = _signed(lambda: day_roots.signed_statements(found, limit=query.limit))
    return {
        "object": "list",
        "data": [*map(_root, found, signed)],
        "has_more": len(found) > query.limit,
    }


def root_statement(account_id: int, day: str) -> str:
    """Return a day's signed root. Raise NotFoundError and ServiceUnavailableError."""
    try:
        found = day_roots.roots_of(account_id, limit=1, day=date.fromisoformat(day))
    except ValueError:
        found = []
    if not found:
        raise errors.NotFoundError(
            Phrase(
                "There is no root of the day '{day}'. List the days with GET /day-roots; a day "
                "without transfers has none, and the last one is closed an hour after midnight "
                "(UTC).",
                day=errors.quoted(day),
            ),
            param="day",
        )
    return _signed(lambda: day_roots.signed_statement(found[0]))


def _root(root: DayRoot, signed: str) -> dict[str, Any]:
    return {
        "object": "day_root",
        "day": root.day,
        "transfers": root.size,
        "root": root.root.hex(),
        "jws": signed,
    }


def _signed(sign: Callable[[], Signed]) -> Signed:
    """Return what `sign` returns. Raise ServiceUnavailableError if no key can sign."""
    try:
        return sign()
    except SigningUnavailableError:
        raise errors.ServiceUnavailableError() from None


async def _respond(request: ApiRequest, body: str, form: str) -> None:
    content_type = _CONTENT_TYPE if form == "jws" else (b"content-type", b"application/json")
    await request.respond(body.encode(), headers=_HEADERS, content_type=content_type)


class Receipt(Struct):
    """A receipt with `format=json`. The page of receipts in the documentation lists the claims."""

    jws: Annotated[str, Meta(description="The receipt: a JWS in compact form.")]
    claims: Annotated[dict[str, Any], Meta(description="Its claims.")]


class SignedDayRoot(Struct):
    """The Merkle root of the team's transfers of a UTC day."""

    object: Literal["day_root"]
    day: date
    transfers: int
    root: Annotated[str, Meta(description="In hexadecimal.")]
    jws: Annotated[str, Meta(description="The signed root, which names the one before it.")]


class DayRootList(Struct):
    """A page of day roots, the latest first."""

    object: Literal["list"]
    data: list[SignedDayRoot]
    has_more: bool


EXAMPLE_JWS = "eyJhbGciOiJFZERTQSIsImtpZCI6Ii4uLiJ9.eyJpc3MiOiIuLi4ifQ.c2lnbmF0dXJl"
_EXAMPLE_CLAIMS = {
    "iss": "https://api.example",
    "request_id": EXAMPLE_ID,
    "team": 7,
    "key": 12,
    "model": "glm-5.2",
    "held_nanos": 4_100_000,
    "charged_nanos": 2_850_000,
}

RECEIPT = Operation(
    name="receipt",
    handle=show_receipt,
    methods=("GET", "HEAD"),
    path="/receipts/{id}",
    query=ReceiptQuery,
    operation_id="get_receipt",
    tag="Account",
    summary="Get a request's receipt",
    description=(
        "Returns a signed statement of what a request of the team held, used and was charged: a "
        "JWS (EdDSA), whose keys are at `/.well-known/jwks.json`. Free, and outside all limits."
    ),
    argument="The request's id, from the header `X-Request-Id`.",
    answer=Receipt,
    answer_example={"jws": EXAMPLE_JWS, "claims": _EXAMPLE_CLAIMS},
    answer_types=(MEDIA_TYPE,),
    errors=(400, *KEY_ERRORS, 404, 409),
    page=DocsPage(
        slug="receipts",
        title="Receipts",
        summary="Signed statements of charges, to verify without us.",
        charge="Nothing.",
    ),
)

DAY_ROOTS = Operation(
    name="day_roots",
    handle=show_roots,
    methods=("GET", "HEAD"),
    path="/day-roots",
    query=RootsQuery,
    operation_id="list_day_roots",
    tag="Account",
    summary="List Merkle roots of the team's transfers",
    description=(
        "Returns the signed roots of closed days. With its root, a receipt of a closed day can be "
        "verified to be part of the team's account. Free, and outside all limits."
    ),
    answer=DayRootList,
    answer_example={
        "object": "list",
        "data": [
            {
                "object": "day_root",
                "day": "2026-11-30",
                "transfers": 1042,
                "root": "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
                "jws": EXAMPLE_JWS,
            }
        ],
        "has_more": False,
    },
    errors=(400, *KEY_ERRORS),
)

DAY_ROOT = Operation(
    name="day_root",
    handle=show_root,
    methods=("GET", "HEAD"),
    path="/day-roots/{day}",
    operation_id="get_day_root",
    tag="Account",
    summary="Get a day's Merkle root",
    description="Returns the signed root of one closed day. Free, and outside all limits.",
    argument="The UTC day, such as `2026-11-30`.",
    answer_types=(MEDIA_TYPE,),
    errors=(*KEY_ERRORS, 404),
)
