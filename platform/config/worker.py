"""Gunicorn's ASGI worker with a graceful shutdown.

After SIGTERM gunicorn's own worker waits until every connection is closed, and the arbiter kills it
at the moment it stops waiting: running streams are cut without settlement, and idle keep-alive
connections delay every restart. This one stops accepting connections at once, closes idle ones,
tells the relay some seconds before the deadline to end running requests, and leaves time to settle
and close.
"""

import asyncio
from typing import Any

from gunicorn.asgi.protocol import ASGIProtocol  # type: ignore[import-untyped]
from gunicorn.workers import gasgi  # type: ignore[import-untyped]

# How long before the deadline running requests are told to end, and the relay is closed.
END_REQUESTS_SECONDS = 5.0
CLOSE_SECONDS = 3.5


class Protocol(ASGIProtocol):  # type: ignore[misc]
    """A connection that its worker keeps track of.

    A client may send its next request as soon as it has the answer, while the server is still
    finishing the previous one. Gunicorn's parser buffers only a few bytes of it, and closes the
    connection without an answer if there are more, as with any large body. So they are buffered
    here.
    """

    _early = b""

    def data_received(self, data: bytes) -> None:
        """Parse the data, or buffer it until the previous request has ended."""
        parser = self._callback_parser
        if self._early or (parser is not None and parser.is_complete):
            self._early += data
            self._pause_reading()
        else:
            super().data_received(data)

    def _resume_reading(self) -> None:
        super()._resume_reading()
        if self._early:
            # Gunicorn makes the parser ready for the next request right after this.
            self.worker.loop.call_soon(self._parse_early)

    def _parse_early(self) -> None:
        early, self._early = self._early, b""
        if early and not self._closed:
            self.data_received(early)

    def connection_made(self, transport: Any) -> None:
        """Register the connection with its worker."""
        super().connection_made(transport)
        self.worker.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Remove the connection from its worker."""
        self.worker.connections.discard(self)
        super().connection_lost(exc)


# The worker looks its connections' class up under this name; there is no setting for it.
gasgi.ASGIProtocol = Protocol
# The result of the check for the C parser is stored on the class that asks first, but read from the
# base class.
ASGIProtocol._check_h1c_protocol_available()


class DrainingWorker(gasgi.ASGIWorker):  # type: ignore[misc]
    """A worker that drains within `graceful_timeout` seconds after SIGTERM."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.connections: set[Protocol] = set()
        self._deadline: float | None = None

    def handle_exit_signal(self) -> None:
        """Begin to stop: the arbiter's patience counts from now on, not from the next second."""
        if self._deadline is None:
            self._deadline = self.loop.time() + self.cfg.graceful_timeout
            self.loop.call_at(self._deadline - END_REQUESTS_SECONDS, self.asgi.shut_down)
            for server in self.servers:
                server.close()
            self._close_idle_connections()
        super().handle_exit_signal()

    async def _shutdown(self) -> None:
        """Wait for running requests, and close the application before the deadline."""
        for server in self.servers:
            server.close()
        began_at = self.loop.time()
        deadline = self._deadline or began_at + self.cfg.graceful_timeout
        while self.connections and self.loop.time() < deadline - CLOSE_SECONDS:
            if self._quick_shutdown:
                self.asgi.shut_down()
                break
            self._close_idle_connections(even_new=self.loop.time() > began_at + 1)
            await asyncio.sleep(0.05)
        if self.connections:
            self.log.warning("Closing with %d connections left", len(self.connections))
        if self.lifespan is not None:
            await self.lifespan.shutdown()

    def _close_idle_connections(self, *, even_new: bool = False) -> None:
        """Close the connections between two requests; busy ones close after their answer.

        On a new connection the first request may be on its way.
        """
        for connection in list(self.connections):
            if connection._awaiting_request and (even_new or connection.req_count > 1):
                connection._keepalive_timeout()
