"""The whole application in the test's own event loop, on the tests' database.

    @in_loop
    async def test_something(settings) -> None:
        async with served(settings) as client:
            answer = await client.get("/v1/key")

The test commits what the application is to see: `django_db(transaction=True)`.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from config.asgi import Application
from tests.billing.ledger_calls import database


@asynccontextmanager
async def served(settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a running application."""
    settings.DATABASE_URL = database()
    application = Application()
    orders: asyncio.Queue[Any] = asyncio.Queue()
    answered: asyncio.Queue[Any] = asyncio.Queue()
    living = asyncio.create_task(
        application({"type": "lifespan"}, orders.get, answered.put)  # type: ignore[arg-type]
    )
    await orders.put({"type": "lifespan.startup"})
    await answered.get()
    transport = httpx.ASGITransport(application)  # type: ignore[arg-type]
    try:
        async with httpx.AsyncClient(transport=transport, base_url="http://testserver") as client:
            yield client
    finally:
        await orders.put({"type": "lifespan.shutdown"})
        await living


def bearer(key: str) -> dict[str, str]:
    """Return the header with a key."""
    return {"authorization": f"Bearer {key}"}
