"""The ASGI application: routes, and one rule for a client that leaves.

A call runs in a task of its own beside a task that listens for the client's disconnect. Whichever
way a server tells it, by `http.disconnect` or by cancelling, the call ends there and then, and
the journal says when and how many tokens had gone out.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import msgspec

from simulator import (
    audio,
    chat,
    completions,
    embeddings,
    images,
    messages,
    moderations,
    rerank,
    responses,
    usage_export,
    videos,
)
from simulator.errors import SimulatedError
from simulator.exchange import HttpExchange, Message, Receive, Request, Send, read_request
from simulator.faults import instead
from simulator.journal import Entry, journal
from simulator.scripted_request import script_of
from simulator.stripe import app as stripe
from simulator.turns import clear_plans, put_plan, read_turns

log = logging.getLogger(__name__)

# Any name is answered; a list must say something.
MODELS = ("sim", "sim-reasoning", "sim-embedding", "sim-image", "sim-video")
_MODELS_CREATED = 1_767_225_600

# Bearer tokens that get 401, as laid down by `PUT /revoked-keys`.
_revoked_keys: set[str] = set()

Handler = Callable[[HttpExchange], Awaitable[None]]


async def application(scope: Message, receive: Receive, send: Send) -> None:
    """Serve one ASGI scope."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["path"].startswith(f"{stripe.MOUNT}/"):
        await stripe.application(scope, receive, send)
    elif scope["type"] == "http":
        request = await read_request(scope, receive)
        if request is not None:
            await _serve(request, receive, send)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _serve(request: Request, receive: Receive, send: Send) -> None:
    path = "/" + request.path.removeprefix("/v1/").strip("/")
    entry = Entry(
        request_id=request.headers.get("x-request-id", ""),
        method=request.method,
        path=request.path,
        authorized=request.authorized,
        header_names=sorted(request.headers),
    )
    exchange = HttpExchange(request, entry, receive, send)
    if own := _OWN_ROUTES.get((request.method, path)):
        await _own(exchange, own)
        return
    if request.method == "PUT" and path.startswith(_TURNS):
        await _put_turns(exchange, path.removeprefix(_TURNS))
        return
    journal.add(entry)
    call = asyncio.create_task(_answer(exchange, path))
    leaving = asyncio.create_task(_disconnected(receive))
    try:
        await asyncio.wait((call, leaving), return_when=asyncio.FIRST_COMPLETED)
    finally:
        # Here too when the server cancels us. A call that has ended keeps its own end.
        entry.close("client_closed")
        call.cancel()
        leaving.cancel()
        await asyncio.gather(call, leaving, return_exceptions=True)


async def _own(exchange: HttpExchange, handler: Handler) -> None:
    try:
        await handler(exchange)
    except SimulatedError as error:
        await exchange.fail(error)


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _answer(exchange: HttpExchange, path: str) -> None:
    try:
        await _route(exchange, path)
    except SimulatedError as error:
        await exchange.fail(error)
    except Exception:
        log.exception("the simulator failed at %s", path)
        await exchange.crash()


async def _route(exchange: HttpExchange, path: str) -> None:
    method = exchange.request.method
    if exchange.request.bearer in _revoked_keys:
        raise SimulatedError("Incorrect API key provided.", status=401, code="invalid_api_key")
    if handler := _ROUTES.get((method, path)):
        await handler(exchange)
    elif path.startswith("/videos/") and path != "/videos/generations" and method == "GET":
        await videos.show(exchange, path.removeprefix("/videos/"))
    elif any(known == path for _, known in _ROUTES):
        raise SimulatedError(f"{method} is not for {path}.", status=405)
    else:
        raise SimulatedError(f"There is nothing at {path}.", status=404)


async def _list_models(exchange: HttpExchange) -> None:
    script = script_of(exchange, "")
    if await instead(exchange, script):
        return
    models = [
        {"id": name, "object": "model", "created": _MODELS_CREATED, "owned_by": "simulator"}
        for name in MODELS
    ]
    await exchange.answer(200, {"object": "list", "data": models})


async def _show_health(exchange: HttpExchange) -> None:
    await exchange.answer(200, {"status": "ok", "open_calls": journal.open_calls()})


async def _show_journal(exchange: HttpExchange) -> None:
    query = exchange.request.query
    limit = query.get("limit", "0")
    if not (limit.isascii() and limit.isdigit() and len(limit) < 10):
        await exchange.fail(SimulatedError("limit: a whole number", param="limit"))
        return
    found = journal.find(
        request_id=query.get("request_id", ""), model=query.get("model", ""), limit=int(limit)
    )
    await exchange.answer(200, msgspec.to_builtins(found))


async def _put_turns(exchange: HttpExchange, name: str) -> None:
    try:
        plan = read_turns(msgspec.json.decode(exchange.request.body))
        put_plan(name, plan)
    except msgspec.DecodeError as error:
        await exchange.fail(SimulatedError(f"turns: {error}", param="turns"))
    except SimulatedError as error:
        await exchange.fail(error)
    else:
        await exchange.answer(200, {"turns": len(plan)})


async def _put_revoked_keys(exchange: HttpExchange) -> None:
    try:
        keys = msgspec.json.decode(exchange.request.body, type=list[str])
    except msgspec.DecodeError as error:
        await exchange.fail(SimulatedError(f"revoked-keys: {error}", param="revoked-keys"))
        return
    _revoked_keys.clear()
    _revoked_keys.update(keys)
    await exchange.answer(200, {"revoked": len(_revoked_keys)})


async def _empty_journal(exchange: HttpExchange) -> None:
    clear_plans()
    await exchange.answer(200, {"deleted": journal.clear()})


_ROUTES: dict[tuple[str, str], Handler] = {
    ("POST", "/chat/completions"): chat.create,
    ("POST", "/completions"): completions.create,
    ("POST", "/responses"): responses.create,
    ("POST", "/messages"): messages.create,
    ("POST", "/messages/count_tokens"): messages.count_tokens,
    ("POST", "/embeddings"): embeddings.create,
    ("POST", "/rerank"): rerank.create,
    ("POST", "/v2/rerank"): rerank.create,
    ("POST", "/moderations"): moderations.create,
    ("POST", "/audio/speech"): audio.speak,
    ("POST", "/audio/transcriptions"): audio.transcribe,
    ("POST", "/images/generations"): images.create,
    ("POST", "/images/edits"): images.edit,
    ("POST", "/videos/generations"): videos.create,
    ("GET", "/models"): _list_models,
}

# The simulator's own, and what it bills: no call for them is journaled.
_OWN_ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/healthz"): _show_health,
    ("GET", "/journal"): _show_journal,
    ("DELETE", "/journal"): _empty_journal,
    ("PUT", "/revoked-keys"): _put_revoked_keys,
    ("GET", "/usage.csv"): usage_export.export,
    ("GET", "/organization/usage/completions"): usage_export.usage,
    ("GET", "/organization/costs"): usage_export.costs,
    ("GET", "/activity"): usage_export.activity,
}

# Turns are laid down under a name: `PUT /turns/NAME`.
_TURNS = "/turns/"
