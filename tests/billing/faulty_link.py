"""A link to the database that a test can stop, cut and close."""

import asyncio
import contextlib
import tempfile
from pathlib import Path
from types import TracebackType

from django.db import connection

PORT = 5432


class FaultyLink:
    """A Unix socket that passes every byte on to the tests' database, until it is told otherwise.

    `hold` stops the answers (the database hangs), `lose_next_answer` cuts the connection when the
    next answer comes (the statement is committed, and nobody knows), `close` refuses connections
    and cuts those there are, `open` takes them again.
    """

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="link")
        parameters = connection.get_connection_params()
        self.address = (
            f"host={self._folder.name} port={PORT} dbname={parameters['dbname']}"
            f" user={parameters.get('user', '')} password={parameters.get('password', '')!r}"
        )
        self._host = parameters.get("host") or "localhost"
        self._port = int(parameters.get("port") or PORT)
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self._loses_next = False
        self.flows = asyncio.Event()

    async def __aenter__(self) -> "FaultyLink":
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()
        self._folder.cleanup()

    async def open(self) -> None:
        """Take connections."""
        self.flows.set()
        path = Path(self._folder.name, f".s.PGSQL.{PORT}")
        self._server = await asyncio.start_unix_server(self._serve, path)

    async def close(self) -> None:
        """Refuse connections, and cuts those there are."""
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    def hold(self) -> None:
        """Let nothing through any more, without a word."""
        self.flows.clear()

    def release(self) -> None:
        """Let everything through again, with what was held."""
        self.flows.set()

    def lose_next_answer(self) -> None:
        """Cut the connection at the next answer instead of passing it on."""
        self._loses_next = True

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._host.startswith("/"):
            path = f"{self._host}/.s.PGSQL.{self._port}"
            upstream = await asyncio.open_unix_connection(path)
        else:
            upstream = await asyncio.open_connection(self._host, self._port)
        writers = {writer, upstream[1]}
        self._writers |= writers
        there = asyncio.create_task(self._pass_on(reader, upstream[1], answers=False))
        back = asyncio.create_task(self._pass_on(upstream[0], writer, answers=True))
        await asyncio.wait([there, back], return_when=asyncio.FIRST_COMPLETED)
        for task in (there, back):
            task.cancel()
        for end in writers:
            end.transport.abort()
        self._writers -= writers

    async def _pass_on(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                await self.flows.wait()
                if answers and self._loses_next:
                    self._loses_next = False
                    return
                writer.write(data)
                await writer.drain()
