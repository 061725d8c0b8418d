"""A gateway on a real ledger for tests of idempotency keys, with a model at a scripted upstream."""

import uuid
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from asgiref.sync import sync_to_async

from api.gateway.process import new_gateway
from api.models import IdempotentRequest, Model, Route, Upstream
from billing.models import PriceVersion, Product, Transfer
from tests.api.gateway import upstream as scripted
from tests.api.gateway.world import PATH, Reply, World, body, in_loop

COST_NANOS = 500 * 700 + 1000 * 2_500


class Process(World):
    """A gateway on the test's database, as a web process has one."""

    def __init__(self, key: str) -> None:
        self.key = key

    async def __aenter__(self) -> "Process":
        self.gateway = new_gateway()
        await self.gateway.open()
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.gateway.close(5)

    async def ask(
        self,
        idempotency_key: str = "one",
        path: str = PATH,
        *,
        key: str = "",
        reply: Reply | None = None,
        content: Any = None,
        **fields: Any,
    ) -> Reply:
        """Ask for a completion and return the reply."""
        reply = reply or Reply()
        headers = {
            "authorization": f"Bearer {key or self.key}",
            "idempotency-key": idempotency_key,
            "origin": "https://page.example",
        }
        await self.send(content or body(**fields), reply, path, headers=headers)
        return reply


def add_model(port: int) -> None:
    product = Product.objects.create(sku="public-model")
    PriceVersion.objects.create(
        product=product,
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        input_nanos_per_million=700_000_000,
        output_nanos_per_million=2_500_000_000,
    )
    model = Model.objects.create(
        name="public-model", product=product, context_tokens=128_000, max_output_tokens=8_192
    )
    there = Upstream.objects.create(name="there", base_url=f"http://127.0.0.1:{port}/v1")
    Route.objects.create(
        model=model, upstream=there, upstream_model="m", charges_broken_streams="always"
    )


def served(*scripts: scripted.Script) -> Callable[..., Any]:
    """Run an async test with a process that serves a model at an upstream of these scripts."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @in_loop
        async def run(key: str) -> None:
            async with scripted.Upstream(*scripts) as there:
                await sync_to_async(add_model)(there.port)
                async with Process(key) as process:
                    await test(process, there)

        def begin(key: str) -> None:
            run(key)

        begin.__name__, begin.__doc__ = test.__name__, test.__doc__
        return begin

    return decorate


@sync_to_async
def charges() -> list[int]:
    """Return what was charged."""
    return list(Transfer.objects.filter(kind="usage").values_list("amount_nanos", flat=True))


@sync_to_async
def rows() -> list[tuple[str, uuid.UUID]]:
    """Return the states and requests of all claims."""
    return list(IdempotentRequest.objects.values_list("state", "request_id"))


def error(reply: Reply) -> tuple[int, str]:
    return reply.status, reply.json["error"]["code"]


def is_replay(reply: Reply) -> bool:
    return reply.headers.get("idempotent-replayed") == "true"
