"""`POST …/chat/completions`."""

import asyncio
from collections.abc import Callable
from typing import TypeVar

import structlog

from api import errors
from api.relay.admission import admit, identify
from api.relay.attempts import Responder, relay_answer
from api.relay.body import check_head, read_object, stated_length
from api.relay.call import Call
from api.relay.exchange import Exchange
from api.relay.faults import AttemptError, ShuttingDownError
from api.relay.plain import PlainResponder
from api.relay.plan import plan_chat
from api.relay.relay import Relay
from api.relay.stream import StreamResponder
from api.relay.watch import Watch
from api.requests import parse_chat_body

Body = TypeVar("Body")

log = structlog.get_logger(__name__)

# A larger body is read only for those whose key is known: it costs us memory and time.
TRUSTED_BYTES = 256 * 1024


async def chat_completions(relay: Relay, call: Call) -> None:
    """Answers a chat completion. Raises an error of `api.errors` while nothing is reserved."""
    digests = call.key_digests()
    body = await read_body(relay, call, digests, parse_chat_body)
    plan, verdict = await admit(
        relay, call, digests, lambda snapshot: plan_chat(snapshot, call.surface, body)
    )
    await run_exchange(relay, call, Exchange(relay.gate, call, plan, verdict))


async def read_body(
    relay: Relay, call: Call, digests: list[str], parse: Callable[[dict[str, object], int], Body]
) -> Body:
    """Returns the body of a request for text, which `parse` makes from its fields and its size.

    Raises an error of `api.errors`. Who sends a bad body with a bad key is told of the key first,
    as with a good body.
    """
    if relay.is_shutting_down:
        raise ShuttingDownError()
    try:
        check_head(call, relay.limits.max_body_bytes)
        if stated_length(call) > TRUSTED_BYTES or b"transfer-encoding" in call.headers:
            await identify(relay, call, digests)
        return parse(*await read_object(call, relay.limits.max_body_bytes))
    except errors.InvalidRequestError:
        if call.verdict is None:
            await identify(relay, call, digests)
        raise


async def run_exchange(
    relay: Relay,
    call: Call,
    exchange: Exchange,
    plain: Callable[[Relay, Call, Exchange, Watch], Responder] = PlainResponder,
) -> None:
    """Relays the answer of an admitted request and settles it, whatever happens.

    `plain` makes the responder for an answer in one piece.
    """
    limits, is_streamed = relay.limits, exchange.plan.is_streamed
    watch = Watch(
        call.downstream,
        total_seconds=exchange.plan.total_seconds,
        write_seconds=limits.write_timeout_seconds,
        keepalive_seconds=limits.keepalive_seconds if is_streamed else None,
    )
    responder: Responder
    if is_streamed:
        responder = StreamResponder(relay, call, exchange, watch)
    else:
        responder = plain(relay, call, exchange, watch)
    relay.clock.watches.add(watch)
    try:
        await _answer(relay, exchange, responder, watch)
    except asyncio.CancelledError:
        exchange.abandon()
        if watch.take_reason() is None:
            raise
    except Exception as error:
        watch.end_attempts()
        exchange.crash(error)
        await exchange.receipt(watch, relay.limits.settle_wait_seconds)
        raise
    finally:
        relay.clock.watches.discard(watch)
        await responder.close()


async def _answer(relay: Relay, exchange: Exchange, responder: Responder, watch: Watch) -> None:
    """Lets the responder answer or apologise; settled is both before the last byte leaves."""
    model = exchange.plan.model.name
    try:
        await relay_answer(exchange, responder, watch, relay.upstreams.throttle)
    except AttemptError as fault:
        watch.end_attempts()
        if fault.is_upstreams:
            relay.health.failed(model)
        exchange.fail(fault, fault.as_error().status)
        await exchange.receipt(watch, relay.limits.settle_wait_seconds)
        if fault.kind != "write":
            await responder.apologise(fault)
        return
    watch.end_attempts()
    relay.health.succeeded(
        model, latency_ms=exchange.elapsed_ms, first_token_ms=exchange.first_token_ms
    )
    await responder.complete()
