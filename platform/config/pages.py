"""Django's side of the process: a request runs to its end, whether or not its client waits.

Gunicorn cancels an application's task when the client is gone. The relay wants that; Django does
not survive it: its handler is cancelled between the view and `request_finished`, the view's thread
goes on, and the connection that it took never returns to the pool (sixteen closed browser tabs
ended the portal). So a page runs in a task of its own, which is told of the disconnect by ASGI's
`http.disconnect` only: Django then ends in good order.
"""

import asyncio
from typing import Any

from django.core.asgi import get_asgi_application

from api.gateway.http import Receive, Scope, Send

STOP_SECONDS = 2.0


class Pages:
    """Django as an ASGI application whose tasks no disconnect cancels."""

    def __init__(self) -> None:
        self._django = get_asgi_application()
        # The loop itself keeps only weak references to its tasks.
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. A cancellation reaches only the caller."""
        task = asyncio.ensure_future(self._django(scope, receive, send))
        self._tasks.add(task)
        task.add_done_callback(self._forget)
        await asyncio.shield(task)

    async def close(self) -> None:
        """Wait a moment for the pages whose clients are gone."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=STOP_SECONDS)

    def _forget(self, task: "asyncio.Task[Any]") -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # the caller has it, or has left; either way it was retrieved
