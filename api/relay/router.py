"""From a matched path to its handler, and from whatever it raises to an answer."""

from collections.abc import Awaitable, Callable

import structlog

from api import errors
from api.relay.body import linger
from api.relay.call import Call, Receive, Scope
from api.relay.chat import chat_completions
from api.relay.completions import completions
from api.relay.downstream import Send
from api.relay.images import image_generations
from api.relay.relay import Relay
from api.relay.videos import show_video, video_generations
from api.relay.views import list_chat_models, list_models, show_health, show_model
from api.surfaces import Match

log = structlog.get_logger(__name__)

Handler = Callable[[Relay, Call], Awaitable[None]]

HANDLERS: dict[str, Handler] = {
    "chat_completions": chat_completions,
    "completions": completions,
    "chat_models": list_chat_models,
    "models": list_models,
    "model": show_model,
    "images_generations": image_generations,
    "videos_generations": video_generations,
    "video": show_video,
    "health": show_health,
}
ALLOWED_HEADERS = b"authorization, content-type"
MAX_AGE_SECONDS = b"86400"


async def handle(relay: Relay, match: Match, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers one HTTP request under an API mount."""
    call = Call(match.surface, match.argument, scope, receive, send)
    method: str = scope["method"]
    try:
        if method == "OPTIONS":
            await _preflight(call, match)
            return
        await _handler(match, method, scope)(relay, call)
    except errors.ApiError as error:
        await _answer_error(call, error)
    except Exception:
        log.exception("relay_failed", request_id=call.request_id)
        if call.downstream.has_begun:
            raise
        await _answer_error(call, errors.ServerError())


def _handler(match: Match, method: str, scope: Scope) -> Handler:
    """Returns the endpoint's handler. Raises UnknownUrlError or MethodNotAllowedError."""
    endpoint = match.endpoint
    if endpoint is None:
        raise errors.UnknownUrlError.about(method, scope["path"])
    if method not in endpoint.methods:
        allowed = ", ".join((*endpoint.methods, "OPTIONS"))
        raise errors.MethodNotAllowedError(
            f"Not allowed: {method}. This path takes {allowed}.", headers={"Allow": allowed}
        )
    return HANDLERS[endpoint.name]


async def _answer_error(call: Call, error: errors.ApiError) -> None:
    await call.respond_error(error)
    if not call.is_body_read:
        await linger(call)


async def _preflight(call: Call, match: Match) -> None:
    """Answers a browser's question whether a page of another origin may call (Fetch, 4.8)."""
    methods = match.endpoint.methods if match.endpoint is not None else ("GET", "POST")
    # A wildcard would not cover Authorization, so what is asked for is what is allowed.
    asked = call.headers.get(b"access-control-request-headers") or ALLOWED_HEADERS
    await call.downstream.respond(
        204,
        [
            (b"access-control-allow-origin", b"*"),
            (b"access-control-allow-methods", ", ".join((*methods, "OPTIONS")).encode()),
            (b"access-control-allow-headers", asked),
            (b"access-control-max-age", MAX_AGE_SECONDS),
            (b"vary", b"access-control-request-headers"),
            (b"x-request-id", call.request_id.encode()),
        ],
        b"",
    )
