"""`POST …/async/chat/completions`: a conversation that is answered later, as in Z.AI's API.

Clients poll `GET …/async-result/{id}` for the answer. Credits are held with the request, and
charged or released when the job ends, in Celery (`async_chat_worker.py`).

1. The ledger holds the maximum cost, for as long as the job may take.
2. The job's row is written, with the conversation, and the client gets its id.
3. A worker answers it; its end and its settlement are one transaction.

A process that dies between 1 and 2 leaves a hold, which the ledger's sweep releases when it
expires. If a worker dies in 3, another one takes over and calls the upstream again.
"""

from functools import partial
from typing import Annotated, Any, Literal

import msgspec
import psycopg
import structlog
from msgspec import Meta, Struct

from api import errors
from api.catalogue.snapshot import Snapshot
from api.dialects.base import Dialect, ParsedRequest
from api.dialects.openai_chat import CHAT
from api.dialects.openai_chat.request import ChatRequest
from api.gateway.abandoned import hand_over
from api.gateway.admission import Quoter, admit
from api.gateway.http import ApiRequest
from api.gateway.max_cost import FIELD
from api.gateway.process import Gateway
from api.gateway.quote import Quote, quote_text
from api.gateway.settlement import AdmittedRequest
from api.jobs.store import ChatOrder
from api.operations.base import CALL_ERRORS, DocsPage, Operation, check_not_streamed
from api.operations.chat_completions import CHAT_COMPLETIONS, HELLO
from api.surfaces import Surface
from billing.pricing.money import dollars_short_text

log = structlog.get_logger(__name__)

NAME = "async_chat_completions"
# How long answers are stored.
RESULT_HOURS = 24
EXAMPLE_ID = "chat-01a1fe52cceb7802829b84e9b03862db"

_encode = msgspec.json.Encoder().encode


def quote_async_chat(
    max_seconds: float,
    dialect: Dialect,
    snapshot: Snapshot,
    surface: Surface,
    request: ParsedRequest,
) -> Quote:
    """Return the quote of a conversation that must be answered within `max_seconds`.

    Raise an error of `api.errors`.
    """
    check_not_streamed(request.fields)
    quote = quote_text(NAME, dialect, snapshot, surface, request)
    quote.job_seconds = max_seconds
    return quote


def async_chat_quoter(gateway: Gateway) -> Quoter:
    """Return what quotes a conversation that is answered later."""
    return partial(quote_async_chat, gateway.limits.async_chat_max_seconds, CHAT)


async def create_async_chat(gateway: Gateway, request: ApiRequest) -> None:
    """Create a job for a conversation and answer with its id. Raise an error of `api.errors`.

    After an error, nothing is held.
    """
    admitted = await admit(gateway, request, CHAT, async_chat_quoter(gateway))
    # A client that disconnects now doesn't end the job: its id is in the customer's usage.
    await hand_over(gateway, admitted, _store(gateway, admitted))
    public_id = f"chat-{admitted.request_id}"
    task = AsyncTask(public_id, public_id, admitted.quote.model.name, "PROCESSING")
    await request.respond(_encode(task))


async def _store(gateway: Gateway, admitted: AdmittedRequest) -> errors.ApiError | None:
    """Store an admitted conversation; the job then owns the hold.

    If that fails, release the hold and return the error for the client.
    """
    quote, admission = admitted.quote, admitted.admission
    fields = quote.request.fields
    if quote.request.max_cost_nanos is not None:
        fields = {**fields, FIELD: dollars_short_text(quote.request.max_cost_nanos)}
    order = ChatOrder(
        request_id=admitted.request_id,
        team_id=admission.team_id,
        account_id=admission.account_id,
        key_id=admission.key_id,
        price_version_id=quote.prices.version_id,
        contract_id=quote.prices.contract or None,
        model=quote.model.name,
        surface=admitted.surface.name,
        held_nanos=admission.amount_nanos,
        # PostgreSQL's text can't contain NUL; in JSON it is always escaped.
        body=_encode(fields).decode(),
        job_seconds=quote.job_seconds,
    )
    try:
        await gateway.jobs.begin_chat(order)
    except psycopg.Error as error:
        log.warning("async_chat_not_stored", request_id=admitted.request_id, error=repr(error))
        admitted.crash(error)
        return errors.ServiceUnavailableError()
    admitted.detach()
    return None


def shown_answer(answer: str) -> dict[str, Any]:
    """Return the fields that a stored answer adds to its job's result."""
    completion = msgspec.json.decode(answer)
    return {name: completion.get(name) for name in ("created", "choices", "usage")}


class AsyncTask(Struct):
    """A conversation that is being answered; poll for the result by its id."""

    id: Annotated[str, Meta(pattern="^chat-[0-9a-f]{32}$")]
    request_id: str
    model: str
    task_status: Literal["PROCESSING"]


ASYNC_CHAT_COMPLETIONS = Operation(
    name=NAME,
    handle=create_async_chat,
    render_error=CHAT.render_error,
    dialect=CHAT,
    quoter=async_chat_quoter,
    methods=("POST",),
    path="/async/chat/completions",
    operation_id="create_async_chat_completion",
    tag="Chat",
    summary="Create a chat completion asynchronously",
    description=(
        "Takes a conversation, as `POST /chat/completions` does, and answers before it is "
        "answered: ask for the result by its id, at `GET /async-result/{id}`. The most that it "
        "may cost is held until then; the exact usage is charged, and nothing if it fails."
    ),
    body=ChatRequest,
    notes={**CHAT_COMPLETIONS.notes, "stream": "Not supported here."},
    examples={"Minimal": {"model": "glm-5.2", "messages": HELLO}},
    answer=AsyncTask,
    answer_example={
        "id": EXAMPLE_ID,
        "request_id": EXAMPLE_ID,
        "model": "glm-5.2",
        "task_status": "PROCESSING",
    },
    errors=CALL_ERRORS,
    model_kind="chat",
    page=DocsPage(
        slug="async-chat",
        title="Asynchronous chat",
        summary="Submit a conversation, and get the answer later.",
        charge=(
            "Charged like chat completions, when the answer is ready. Failed answers are free, and "
            "so are empty ones, unless the model's provider bills their input."
        ),
    ),
)
