"""From a request's body to its reservation: read, quoted, and admitted by the ledger."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from django.conf import settings

from accounts.masking import mask_secrets
from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import Dialect, ParsedRequest
from api.dialects.form import TakesForms
from api.gateway.beside_loop import LARGE_BYTES, run_beside
from api.gateway.growing_hold import fit_growing, hold_slice
from api.gateway.http import ApiRequest
from api.gateway.max_cost import FIELD, HEADER, limit_to_max_cost, take_max_cost
from api.gateway.process import Gateway
from api.gateway.quote import Quote
from api.gateway.settlement import AdmittedRequest
from api.gateway.upstream_errors import ShuttingDownError
from api.phrases import Phrase
from api.surfaces import Surface
from billing.ledger.gate import Admission, AdmissionResult, LedgerUnavailableError
from billing.ledger.refusal_details import TightestBudget
from billing.pricing.money import budget_nanos, dollars_short_text

# A catalogue that changes faster than this many readings is being edited; the client may wait.
MAX_QUOTES = 3
# A larger body costs memory and time: it is read only for a known key.
TRUSTED_BYTES = 256 * 1024
# One that is larger still is read only for a team that has credit.
UNPAID_BYTES = 1024 * 1024
# Ours, Claude Code's, and Codex's of two generations.
SESSION_HEADERS = (b"x-session-id", b"x-claude-code-session-id", b"session-id", b"session_id")
SESSION_BUDGET = b"x-session-budget"
_SESSION_ID = re.compile(r"[!-~](?:[ -~]{0,126}[!-~])?")
# Such as a UUID: no secret looks like it, and looking for secrets takes 12 µs.
_PLAIN_ID = re.compile(r"[0-9a-fA-F_-]+")

# The scopes of budgets, as errors name them.
_SCOPES = {
    "team": Phrase("team"),
    "member": Phrase("member"),
    "key": Phrase("API key"),
    "session": Phrase("session"),
    "end_user": Phrase("end user"),
}

Quoter = Callable[[Snapshot, Surface, ParsedRequest], Quote]


async def admit(
    gateway: Gateway, request: ApiRequest, dialect: Dialect, make_quote: Quoter
) -> AdmittedRequest:
    """Return the admitted request, which owns the reservation's end.

    `make_quote` is called again when the catalogue is no longer the one that the ledger goes by.

    Raise an error of `api.errors`; then nothing is reserved. Nothing is awaited between the
    ledger's answer and the `AdmittedRequest`.
    """
    digests = request.key_digests()
    parsed = await parsed_body(gateway, request, digests, dialect)
    for _ in range(MAX_QUOTES):
        snapshot = gateway.catalogue.current
        if snapshot.contracts:
            snapshot = snapshot.for_team(await _team_of(gateway, request, digests))
        try:
            quote = quoted(gateway, snapshot, request.surface, parsed, make_quote)
            place = gateway.upstreams.limits.expect(quote.model.routes, digests[0])
        except Exception as error:  # a wrong row can crash the quote until staff correct it
            admission = await identify(gateway, request, digests)
            if admission is not None and admission.catalogue_version != snapshot.version:
                await gateway.catalogue_of(admission)
                continue
            if snapshot.version == 0 and isinstance(error, errors.NotFoundError):
                raise errors.ServiceUnavailableError() from None
            raise
        try:
            if request.idempotency is not None:
                await request.idempotency.claim()
            request.admission = admission = await gateway.gate.admit(
                _admission_of(gateway, request, digests, quote)
            )
        except LedgerUnavailableError:
            raise errors.ServiceUnavailableError() from None
        finally:
            place.give_back(request.admission.team_id if request.admission is not None else 0)
        if admission.code == "admitted":
            forwarded = request.headers.get(b"x-forwarded-for", b"")
            gateway.key_addresses.seen[admission.key_id] = request.peer, forwarded
            _fit(quote, admission)
            return AdmittedRequest(gateway.gate, request, quote, admission)
        if admission.code != "stale_catalogue":
            raise refusal(admission, parsed.model)
        await gateway.catalogue_of(admission)
    raise errors.ServiceUnavailableError(Phrase("The catalogue is being changed. Try again."))


def _fit(quote: Quote, admission: AdmissionResult) -> None:
    """Fit the output into what was held, or is available to a hold that grows."""
    if quote.whole_nanos:
        fit_growing(quote, admission.amount_nanos, admission.available_nanos)
    elif admission.amount_nanos < quote.amount_nanos:
        quote.lower_to(admission.amount_nanos)


def quoted(
    gateway: Gateway,
    snapshot: Snapshot,
    surface: Surface,
    parsed: ParsedRequest,
    make_quote: Quoter,
) -> Quote:
    """Return the quote that a request is admitted by. Raise an error of `api.errors`."""
    quote = make_quote(snapshot, surface, parsed)
    if ratio := gateway.token_ratios.known.get(quote.model.name):
        quote.calibrate(ratio)
    if parsed.max_cost_nanos is not None:
        limit_to_max_cost(quote, parsed.max_cost_nanos)
    if parsed.is_streamed and quote.model.name not in gateway.hidden_output:
        hold_slice(quote, gateway.limits.hold_slice_tokens or quote.most_output)
    return quote


async def identify(
    gateway: Gateway, request: ApiRequest, digests: list[str]
) -> AdmissionResult | None:
    """Return the key's owner, without a reservation, or None while the ledger is unavailable.

    Raise the error that refuses the key.
    """
    try:
        admission = await gateway.gate.identify(request.request_id, digests)
    except LedgerUnavailableError:
        return None
    request.admission = admission
    if admission.code != "identified":
        raise refusal(admission)
    return admission


async def _team_of(gateway: Gateway, request: ApiRequest, digests: list[str]) -> int:
    """Return the id of the key's team, before the ledger is asked for the admission.

    A key's team never changes, so each process asks for it once. Raise an error of `api.errors`.
    """
    if request.admission is not None and request.admission.team_id:
        return request.admission.team_id
    if known := gateway.upstreams.limits.teams.get(digests[0]):
        return known
    admission = await identify(gateway, request, digests)
    if admission is None:
        raise errors.ServiceUnavailableError()
    return admission.team_id


async def current_catalogue(gateway: Gateway, request: ApiRequest) -> Snapshot:
    """Return the current catalogue for a known key's team. Raise an error of `api.errors`."""
    admission = await identify(gateway, request, request.key_digests())
    if admission is None:
        raise errors.ServiceUnavailableError()
    return (await gateway.catalogue_of(admission)).for_team(admission.team_id)


def refusal(admission: AdmissionResult, model: str = "") -> errors.ApiError:
    """Return the client's error for a refused admission."""
    match admission.code:
        case "invalid_api_key":
            return errors.InvalidApiKeyError()
        case "key_frozen":
            return errors.KeyFrozenError()
        case "wrong_scope":
            return errors.EndpointNotAllowedError()
        case "team_suspended":
            return errors.TeamSuspendedError()
        case "model_not_allowed":
            return errors.ModelNotAllowedError.about(model)
        case "too_many_calls":
            return errors.ConcurrentRequestsError(retry_after_seconds=admission.retry_after_seconds)
        case "rate_limited_requests":
            return errors.RateLimitError(retry_after_seconds=admission.retry_after_seconds)
        case "rate_limited_free":
            return errors.FreeRateLimitError(retry_after_seconds=admission.retry_after_seconds)
        case "rate_limited_tokens":
            return errors.TokensRateLimitError(retry_after_seconds=admission.retry_after_seconds)
        case "budget_exceeded":
            return errors.BudgetExceededError(_budget_exceeded(admission.budget))
        case "insufficient_quota":
            message = Phrase(errors.InsufficientQuotaError.template, settings.BILLING_URL)
            return errors.InsufficientQuotaError(message)
    raise ValueError(f"The ledger's answer {admission.code!r} is unknown.")


async def parsed_body(
    gateway: Gateway, request: ApiRequest, digests: list[str], dialect: Dialect
) -> ParsedRequest:
    """Return the request in the body. Raise an error of `api.errors`.

    A client that sends a bad body with a bad key gets the error about the key, as with a good body.
    """
    if gateway.is_shutting_down:
        raise ShuttingDownError()
    max_bytes = gateway.limits.max_body_bytes
    try:
        if request.stated_length > TRUSTED_BYTES or b"transfer-encoding" in request.headers:
            admission = await identify(gateway, request, digests)
            if admission is not None and admission.available_nanos <= 0:
                max_bytes = min(max_bytes, UNPAID_BYTES)
        parsed = await _read_and_parse(request, dialect, max_bytes)
        parsed.session_id = session_id_of(request.headers, parsed.fields)
        if SESSION_BUDGET in request.headers:
            parsed.session_budget_nanos = _session_budget(request.headers, parsed.session_id)
    except errors.RequestTooLargeError:
        if max_bytes < gateway.limits.max_body_bytes:
            raise errors.InsufficientQuotaError(
                Phrase(
                    "A body of more than {max_bytes} bytes needs credit, whatever the model. "
                    "Buy credits at {billing_url}, or send a smaller body.",
                    max_bytes=f"{max_bytes:,}",
                    billing_url=settings.BILLING_URL,
                )
            ) from None
        if request.admission is None:
            await identify(gateway, request, digests)
        raise
    except errors.InvalidRequestError:
        if request.admission is None:
            await identify(gateway, request, digests)
        raise
    if parsed.end_user:
        # Some clients put their key here; it is stored with the usage, and shown.
        parsed.end_user = mask_secrets(parsed.end_user)
    if dialect.forwards_headers:
        parsed.forwarded = dialect.forwarded_headers(request.headers)
    return parsed


def session_id_of(headers: Mapping[bytes, bytes], fields: Mapping[str, Any]) -> str:
    """Return the session id that the client sends, in a header or in `prompt_cache_key`.

    Return "" without one, or if it is not 1 to 128 printable ASCII characters. Secrets are masked,
    since it is stored with the usage.
    """
    for name in SESSION_HEADERS:
        if name in headers:
            session_id: Any = headers[name].decode("latin-1").strip()
            break
    else:
        session_id = fields.get("prompt_cache_key")
    if not isinstance(session_id, str) or not _SESSION_ID.fullmatch(session_id):
        return ""
    return session_id if _PLAIN_ID.fullmatch(session_id) else mask_secrets(session_id)


def _session_budget(headers: Mapping[bytes, bytes], session_id: str) -> int:
    """Return the session's budget in nano-dollars. Raise InvalidRequestError."""
    text = headers[SESSION_BUDGET].decode("latin-1").strip()
    try:
        amount_nanos = budget_nanos(text)
    except ValueError:
        amount_nanos = 0
    if amount_nanos <= 0:
        raise errors.InvalidRequestError(
            Phrase("X-Session-Budget must be an amount in dollars above 0, such as 0.50."),
            param="X-Session-Budget",
        )
    if not session_id:
        raise errors.InvalidRequestError(
            Phrase(
                "X-Session-Budget needs a session: send X-Session-Id, "
                "1 to 128 printable ASCII characters."
            ),
            param="X-Session-Id",
        )
    return amount_nanos


def _budget_exceeded(budget: TightestBudget | None) -> str | None:
    """Return the error's message about an exceeded budget; None if that isn't known."""
    if budget is None:
        return None
    figures = {
        "scope": _SCOPES[budget.scope],
        "left": dollars_short_text(budget.left_nanos),
        "limit": dollars_short_text(budget.limit_nanos),
    }
    if budget.resets_at is None:
        return Phrase(
            "Budget exceeded ({scope}): ${left} of ${limit} left. Raise the budget.", **figures
        )
    return Phrase(
        "Budget exceeded ({scope}): ${left} of ${limit} left until {reset}. "
        "Wait, or raise the budget.",
        reset=f"{datetime.fromtimestamp(budget.resets_at, UTC):%Y-%m-%d %H:%M} UTC",
        **figures,
    )


async def _read_and_parse(request: ApiRequest, dialect: Dialect, max_bytes: int) -> ParsedRequest:
    """Return the request in a body of at most `max_bytes`. Raise InvalidRequestError."""
    if isinstance(dialect, TakesForms) and not (dialect.takes_json and not request.is_form):
        fields, size_bytes = await request.read_form(max_bytes)
    else:
        fields, size_bytes = await request.read_object(max_bytes)
    max_cost_nanos = None
    if HEADER in request.headers or FIELD in fields:
        max_cost_nanos, own_bytes = take_max_cost(request.headers, fields)
        size_bytes -= own_bytes
    if size_bytes <= LARGE_BYTES:
        parsed = dialect.parse(fields, size_bytes)
    else:
        parsed = await run_beside(size_bytes, dialect.parse, fields, size_bytes)
    parsed.max_cost_nanos = max_cost_nanos
    return parsed


def _admission_of(
    gateway: Gateway, request: ApiRequest, digests: list[str], quote: Quote
) -> Admission:
    """Return what the ledger needs to admit a quoted request."""
    limits = gateway.limits
    return Admission(
        request_id=request.request_id,
        digests=digests,
        model=quote.model.name,
        surface=request.surface.name,
        price_version_id=quote.prices.version_id,
        amount_nanos=quote.amount_nanos,
        minimum_nanos=quote.minimum_nanos,
        tokens=quote.limited_tokens,
        minimum_tokens=quote.least_limited_tokens,
        hold_seconds=quote.total_seconds + quote.job_seconds + limits.hold_grace_seconds,
        catalogue_version=quote.catalogue_version,
        model_requests_per_minute=quote.model.requests_per_minute,
        is_job=quote.job_seconds > 0,
        free_address=None if quote.amount_nanos else request.client_address(),
        free_requests_per_minute=limits.free_requests_per_minute,
        free_tokens_per_minute=limits.free_tokens_per_minute,
        session_id=quote.request.session_id,
        end_user=quote.request.end_user,
        session_budget_nanos=quote.request.session_budget_nanos,
    )
