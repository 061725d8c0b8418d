"""The reference: an ASGI relay that only relays, by the fastest client we know (aiohttp)."""

import os
from typing import Any

import aiohttp

_URL = os.environ.get("BENCH_UPSTREAM_URL", "")
_session: aiohttp.ClientSession | None = None


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Hands a request's body to the upstream and its answer's bytes back."""
    global _session  # noqa: PLW0603 - one client a process, made by the lifespan
    if scope["type"] == "lifespan":
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        _session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await _session.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    assert _session is not None
    async with _session.post(
        _URL, data=body, headers={"content-type": "application/json"}
    ) as answer:
        content_type = answer.headers["content-type"].encode()
        if content_type == b"application/json":
            content = await answer.read()
            headers = [
                (b"content-type", content_type),
                (b"content-length", b"%d" % len(content)),
            ]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": content})
            return
        headers = [(b"content-type", content_type)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for content in answer.content.iter_any():
            await send({"type": "http.response.body", "body": content, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
