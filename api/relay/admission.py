"""From a body to a reservation: the plan, and the ledger's verdict on it."""

from collections.abc import Callable

from django.conf import settings

from api import errors
from api.catalogue.snapshot import Snapshot
from api.relay.call import Call
from api.relay.plan import Plan
from api.relay.relay import Relay
from billing.ledger.gate import Admission, AdmissionResult, LedgerUnavailableError

# A catalogue that changes faster than this many readings is being edited; the client may wait.
MAX_PLANS = 3


async def admit(
    relay: Relay, call: Call, digests: list[str], make_plan: Callable[[Snapshot], Plan]
) -> tuple[Plan, AdmissionResult]:
    """Returns a request's plan and the verdict that admitted it.

    `make_plan` makes the plan from a catalogue's snapshot, and is asked again when that is no
    longer what the ledger goes by.

    Raises an error of `api.errors`; then nothing is reserved. Await nothing between this and the
    `Exchange` that owns the reservation's end.
    """
    for _ in range(MAX_PLANS):
        snapshot = relay.catalogue.current
        try:
            plan = make_plan(snapshot)
            place = relay.upstreams.throttle.expect(plan.model.routes)
        except Exception as error:  # a mistaken row can crash the plan until staff correct it
            verdict = await identify(relay, call, digests)
            if verdict is not None and verdict.catalogue_version != snapshot.version:
                await relay.catalogue_of(verdict)
                continue
            if snapshot.version == 0 and isinstance(error, errors.NotFoundError):
                raise errors.ServiceUnavailableError() from None
            raise
        try:
            verdict = await _ask(relay, call, digests, plan)
        finally:
            place.expected -= 1
        if verdict.code == "admitted":
            if verdict.amount_nanos < plan.amount_nanos:
                plan.lower_to(verdict.amount_nanos)
            return plan, verdict
        if verdict.code != "stale_catalogue":
            raise refusal(verdict, plan.public_name)
        await relay.catalogue_of(verdict)
    raise errors.ServiceUnavailableError("The catalogue is being changed. Try again.")


async def identify(relay: Relay, call: Call, digests: list[str]) -> AdmissionResult | None:
    """Returns who asks, reserving and counting nothing, or None while the ledger is away.

    Raises the error that refuses the key.
    """
    try:
        verdict = await relay.gate.identify(call.request_id, digests)
    except LedgerUnavailableError:
        return None
    call.verdict = verdict
    if verdict.code != "identified":
        raise refusal(verdict)
    return verdict


def refusal(verdict: AdmissionResult, model: str = "") -> errors.ApiError:
    """Returns the error that a verdict other than a yes is for the client."""
    match verdict.code:
        case "invalid_api_key":
            return errors.InvalidApiKeyError()
        case "wrong_scope":
            return errors.EndpointNotAllowedError()
        case "team_suspended":
            return errors.TeamSuspendedError()
        case "model_not_allowed":
            return errors.ModelNotAllowedError.about(model)
        case "rate_limited_requests":
            return errors.RateLimitError(retry_after_seconds=verdict.retry_after_seconds)
        case "rate_limited_tokens":
            return errors.TokensRateLimitError(retry_after_seconds=verdict.retry_after_seconds)
        case "budget_exceeded":
            return errors.BudgetExceededError()
        case "insufficient_quota":
            message = errors.InsufficientQuotaError.template.format(settings.BILLING_URL)
            return errors.InsufficientQuotaError(message)
    raise ValueError(f"The ledger's verdict {verdict.code!r} is unknown.")


async def _ask(relay: Relay, call: Call, digests: list[str], plan: Plan) -> AdmissionResult:
    """Returns the ledger's verdict on a plan. Raises ServiceUnavailableError."""
    admission = Admission(
        request_id=call.request_id,
        digests=digests,
        model=plan.model.name,
        surface=call.surface.name,
        price_version_id=plan.prices.version_id,
        amount_nanos=plan.amount_nanos,
        minimum_nanos=plan.minimum_nanos,
        tokens=plan.limited_tokens,
        hold_seconds=plan.total_seconds + plan.job_seconds + relay.limits.hold_grace_seconds,
        catalogue_version=plan.catalogue_version,
        model_requests_per_minute=plan.model.requests_per_minute,
    )
    try:
        call.verdict = verdict = await relay.gate.admit(admission)
    except LedgerUnavailableError:
        raise errors.ServiceUnavailableError() from None
    return verdict
