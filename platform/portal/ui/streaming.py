"""Bytes made by blocking code, sent as they come.

Django would gather a blocking iterator's bytes in memory before it sends them under ASGI.
"""

from collections.abc import AsyncIterator, Iterator

from asgiref.sync import sync_to_async
from django.db import connection


async def in_threads(chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the chunks, each made in the request's thread.

    The database connection goes back to the pool while a slow reader takes a chunk, so the
    iterator may keep no cursor from one chunk to the next.
    """
    while (chunk := await sync_to_async(_next)(chunks)) is not None:
        yield chunk


def _next(chunks: Iterator[bytes]) -> bytes | None:
    try:
        return next(chunks, None)
    finally:
        if not connection.in_atomic_block:
            connection.close()
