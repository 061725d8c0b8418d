"""The process's ASGI application: the gateway for the API's paths, Django for all others.

The gateway is plain ASGI. Django's handler and its URL resolver would take 15% of a request,
and its signals hop to a thread twice (measured; `platform/docs/architecture.md`).

`SERVES` determines whether the process has both. In production they run in separate processes, so
that no page shares an event loop or a lock with the API, or takes it down.
"""

import os
from collections.abc import Coroutine
from typing import Any

import django
from django.conf import settings

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

# ruff: noqa: E402 - what follows has models, which need the settings
from api import maintenance
from api.gateway.http import Receive, Scope, Send
from api.gateway.process import Gateway, new_gateway
from api.router import handle, match
from config import metrics
from config.pages import Pages
from config.startup import require_settings

# How long a stopping process waits for queued settlements before it spools them.
CLOSE_SECONDS = 2.0
MISDIRECTED = b"This process does not serve this path: see SERVES in the operations manual.\n"


class Application:
    """Route each request to the gateway or to Django; the gateway lives as long as the process.

    `serves` is the setting SERVES; paths that the process doesn't serve get a 421.
    """

    def __init__(self, serves: str = "all") -> None:
        self._pages = Pages() if serves != "api" else None
        self._has_gateway = serves != "pages"
        self._gateway: Gateway | None = None
        self._maintenance = maintenance.Watch(settings.DATABASE_URL)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Coroutine[Any, Any, None]:
        """Return the coroutine that serves a request, or the process's life (ASGI's lifespan)."""
        if scope["type"] != "http":
            return self._live(scope, receive, send)
        found = match(scope["path"])
        if found is None:
            if scope["path"] == metrics.PATH:
                return metrics.serve(scope, send, has_pages=self._pages is not None)
            return _misdirect(send) if self._pages is None else self._pages(scope, receive, send)
        if not self._has_gateway:
            return _misdirect(send)
        if self._gateway is None:
            raise RuntimeError("The server has not run the application's lifespan.")
        return handle(self._gateway, found, scope, receive, send)

    def shut_down(self) -> None:
        """End the running requests: the process is about to stop (config/worker.py)."""
        if self._gateway is not None:
            self._gateway.shut_down()

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Open the gateway for as long as the process lives. Web sockets are left unanswered."""
        if scope["type"] != "lifespan":
            return
        await receive()
        await self._maintenance.open()
        if self._has_gateway:
            self._gateway = new_gateway()
            await self._gateway.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self._maintenance.close()
        if self._pages is not None:
            await self._pages.close()
        if self._gateway is not None:
            await self._gateway.close(CLOSE_SECONDS)
        await send({"type": "lifespan.shutdown.complete"})


async def _misdirect(send: Send) -> None:
    """Send a 421 to a request that the proxy should have routed to another process."""
    headers = [
        (b"content-type", b"text/plain"),
        (b"content-length", b"%d" % len(MISDIRECTED)),
    ]
    await send({"type": "http.response.start", "status": 421, "headers": headers})
    await send({"type": "http.response.body", "body": MISDIRECTED})


require_settings()
application = Application(settings.SERVES)
