"""The process's ASGI application: the relay for the API's paths, Django for all others.

The relay is plain ASGI: Django's handler and URL resolver would take 15 % of a request, and its
signals hop to a thread twice (measured; `platform/docs/architecture.md`).
"""

import os

from api.relay.call import Receive, Scope
from api.relay.downstream import Send
from api.relay.relay import Relay, new_relay
from api.relay.router import handle
from api.surfaces import match
from config.pages import Pages

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
pages = Pages()

# How long a stopping process waits for queued settlements before it spools them.
CLOSE_SECONDS = 2.0


class Application:
    """The dispatcher to relay and Django, which opens and closes the relay with the process."""

    def __init__(self) -> None:
        self._relay: Relay | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one HTTP request, or the lifespan of the process."""
        if scope["type"] == "http":
            found = match(scope["path"])
            if found is None:
                await pages(scope, receive, send)
            elif self._relay is None:
                raise RuntimeError("The server has not run the application's lifespan.")
            else:
                await handle(self._relay, found, scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)

    def shut_down(self) -> None:
        """End the running requests: the process is about to stop (config/worker.py)."""
        if self._relay is not None:
            self._relay.shut_down()

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        self._relay = new_relay()
        await self._relay.open()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await pages.close()
        await self._relay.close(CLOSE_SECONDS)
        await send({"type": "lifespan.shutdown.complete"})


application = Application()
