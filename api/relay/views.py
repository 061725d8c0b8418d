"""`GET …/models`, `…/models/{id}`, `…/chat/models` and `…/health`."""

from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import psycopg

from api import errors
from api.catalogue.snapshot import Snapshot
from api.relay.admission import identify
from api.relay.call import Call
from api.relay.relay import Relay

VERSION = "1.0"

_encode = msgspec.json.Encoder().encode


async def list_models(relay: Relay, call: Call) -> None:
    """Answers the list of the surface's models."""
    snapshot = await _snapshot(relay, call)
    now = datetime.now(UTC)
    listed = snapshot.public_models(coding_only=call.surface.models == "coding")
    data = [model.listing(now) for model in listed]
    await call.respond(_encode({"object": "list", "data": data}))


async def list_chat_models(relay: Relay, call: Call) -> None:
    """Answers the surface's chat models with their keys and output limits (WeryAI)."""
    snapshot = await _snapshot(relay, call)
    now = datetime.now(UTC)
    listed = snapshot.public_models(coding_only=call.surface.models == "coding", kind="chat")
    data = [model.chat_listing(now) for model in listed]
    await call.respond(_encode({"object": "list", "data": data}))


async def show_model(relay: Relay, call: Call) -> None:
    """Answers one model, by its name or an alias. Raises ModelNotFoundError."""
    snapshot = await _snapshot(relay, call)
    model = snapshot.find(call.argument)
    if model is None or (call.surface.models == "coding" and not model.is_coding):
        raise errors.ModelNotFoundError.about(call.argument)
    await call.respond(_encode(model.listing(datetime.now(UTC), call.argument)))


async def show_health(relay: Relay, call: Call) -> None:
    """Answers how the models do. Needs no key."""
    await relay.health.refresh()
    # No verdict brings the news of a changed catalogue to a process that shows health only.
    if relay.health.catalogue_version > relay.catalogue.current.version:
        with suppress(psycopg.Error):
            await relay.catalogue.refresh_to(relay.health.catalogue_version)
    models = relay.health.states(relay.catalogue.current)
    await call.respond(_encode({"status": "ok", "version": VERSION, "models": models}))


async def _snapshot(relay: Relay, call: Call) -> Snapshot:
    """Returns the catalogue of now for a key that is known. Raises an error of `api.errors`."""
    verdict = await identify(relay, call, call.key_digests())
    if verdict is None:
        raise errors.ServiceUnavailableError()
    return await relay.catalogue_of(verdict)
