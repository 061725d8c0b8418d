"""The reference: an ASGI relay that only relays, by the fastest client we know (aiohttp)."""

import os
from typing import Any

import aiohttp


class BareRelay:
    """Hands a request's body to the upstream and its answer's bytes back."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        """Serve one request, or the process's life (ASGI's lifespan)."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        assert self._session is not None
        headers = {"content-type": "application/json"}
        async with self._session.post(self._url, data=body, headers=headers) as answer:
            if answer.headers["content-type"] == "application/json":
                await self._pass_on_plain(answer, send)
            else:
                await self._pass_on_stream(answer, send)

    def shut_down(self) -> None:
        """Nothing to end in good order (config/worker.py calls this)."""

    async def _pass_on_plain(self, answer: aiohttp.ClientResponse, send: Any) -> None:
        content = await answer.read()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(content)),
        ]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _pass_on_stream(self, answer: aiohttp.ClientResponse, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        async for content in answer.content.iter_any():
            await send({"type": "http.response.body", "body": content, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        connector = aiohttp.TCPConnector(limit=0)
        self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._session.close()
        await send({"type": "lifespan.shutdown.complete"})


app = BareRelay(os.environ.get("BENCH_UPSTREAM_URL", ""))
