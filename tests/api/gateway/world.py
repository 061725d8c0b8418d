"""A relay in the test's own event loop: a fake ledger, a scripted upstream, a client at its door.

    @in_loop
    async def test_something() -> None:
        async with World(plain_answer()) as world:
            answer = await world.chat()

The upstream is a real server on a real socket, so that connections, resets and silence are real.
"""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable, Coroutine
from datetime import UTC, datetime
from typing import Any

from accounts import keys
from api.catalogue.current import Catalogue
from api.catalogue.snapshot import (
    ModelEntry,
    RouteEntry,
    ServiceEntry,
    Snapshot,
    UpstreamEntry,
)
from api.gateway.ejection_log import EjectionLog
from api.gateway.health import Health
from api.gateway.process import Gateway, Limits
from api.gateway.token_ratios import TokenRatios
from api.gateway.upstream import Upstreams
from api.jobs.store import JobStore
from api.router import handle, match
from billing.ledger.gate import Settlement
from billing.pricing.rates import Costs, Prices
from tests.api.gateway.fake_gate import FakeGate
from tests.api.gateway.upstream import Script, Upstream

PATH = "/v1/chat/completions"
KEY = keys.new_key("sk-tg-")


def in_loop(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test, for at most a minute."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


def cost_of(settled: Settlement) -> float:
    """Return what a settlement charges, in dollars as an answer's `usage.cost` has it."""
    tokens = settled.input_nanos + settled.cached_nanos + settled.output_nanos
    return (tokens + settled.reasoning_nanos + settled.units_nanos) / 10**9


class Reply:
    """What the client got."""

    def __init__(self) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The data of a stream's events, decoded where it is JSON."""
        datas = [line[6:] for line in self.body.decode().split("\n") if line.startswith("data: ")]
        return [data if data == "[DONE]" else json.loads(data) for data in datas]

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or ""
            for event in self.events
            if isinstance(event, dict)
            for choice in event.get("choices", ())
        )


class World:
    """A relay with one model, `public-model`, at one or more upstreams. Fields change entries.

    Each upstream has all of the `keys`, which are fields of its entries.
    """

    def __init__(
        self,
        *scripts: Script,
        upstreams: list[Upstream] | None = None,
        limits: dict[str, Any] | None = None,
        upstream: dict[str, Any] | None = None,
        route: dict[str, Any] | None = None,
        keys: tuple[dict[str, Any], ...] = ({},),
        costs: tuple[Costs, ...] = (),
        **model: Any,
    ) -> None:
        self.gate = FakeGate()
        self.upstreams = upstreams or [Upstream(*scripts)]
        self._limits = limits or {}
        self._upstream = upstream or {}
        self._route = {"costs": costs, **(route or {})}
        self._keys = keys
        self._model = model
        self.reads = 0

    @property
    def upstream(self) -> Upstream:
        return self.upstreams[0]

    async def __aenter__(self) -> "World":
        for upstream in self.upstreams:
            await upstream.__aenter__()
        limits = {
            "max_body_bytes": 20 * 1024 * 1024,
            "max_answer_bytes": 1024 * 1024,
            "keepalive_seconds": 15.0,
            "write_timeout_seconds": 30.0,
            "settle_wait_seconds": 5.0,
            "hold_grace_seconds": 120.0,
            "free_requests_per_minute": 300,
            "free_tokens_per_minute": 240_000,
            "video_max_seconds": 1800.0,
            "video_poll_seconds": 3.0,
            "async_chat_max_seconds": 1800.0,
            **self._limits,
        }
        self.gateway = Gateway(
            gate=self.gate,  # type: ignore[arg-type]
            snapshots=Catalogue(self._read),
            upstreams=Upstreams(limits["max_answer_bytes"]),
            health=Health("postgresql://nobody@127.0.0.1:1/none"),
            jobs=JobStore("postgresql://nobody@127.0.0.1:1/none"),
            token_ratios=TokenRatios("postgresql://nobody@127.0.0.1:1/none"),
            ejection_log=EjectionLog("postgresql://nobody@127.0.0.1:1/none"),
            limits=Limits(**limits),
        )
        self.gateway.ticker.start()
        self.gateway.catalogue.current = self.snapshot()
        return self

    async def __aexit__(self, *_error: object) -> None:
        self.gateway.ticker.stop()
        await self.gateway.upstreams.close()
        for upstream in self.upstreams:
            await upstream.__aexit__()

    def _routes(self) -> tuple[RouteEntry, ...]:
        return tuple(
            RouteEntry(
                **{
                    "id": number,
                    "upstream": UpstreamEntry(
                        **{
                            "id": number,
                            "name": f"upstream-{number}",
                            "base_url": f"http://127.0.0.1:{upstream.port}/v1",
                            "api_key_env": "",
                            "max_concurrency": 100,
                            "connect_timeout_seconds": 1.0,
                            "first_token_timeout_seconds": 5.0,
                            "idle_timeout_seconds": 5.0,
                            "total_timeout_seconds": 10.0,
                            "drains_on_disconnect": False,
                            "has_other_keys": len(self._keys) > 1,
                            **self._upstream,
                            **key,
                        }
                    ),
                    "upstream_model": "upstream-model",
                    "priority": number,
                    "weight": 1,
                    "reasoning_dialect": "reasoning_content",
                    **self._route,
                }
            )
            for number, upstream in enumerate(self.upstreams)
            for key in self._keys
        )

    def snapshot(self, version: int = 1, **model: Any) -> Snapshot:
        """Return a catalogue of the one model."""
        fields = {
            "id": 1,
            "name": "public-model",
            "title": "",
            "description": "",
            "owner": "us",
            "kind": "chat",
            "is_coding": True,
            "created": 1,
            "context_tokens": 128_000,
            "max_output_tokens": 8_192,
            "default_max_tokens": None,
            "default_temperature": None,
            "default_top_p": None,
            "max_messages": None,
            "bytes_per_token": 4.0,
            "tokens_per_image": 1_000,
            "input_modalities": ("text",),
            "output_modalities": ("text",),
            "supported_features": (),
            "sampling_parameters": (),
            "refused_parameters": (),
            "quantization": "",
            "datacenters": (),
            "image_sizes": (),
            "requests_per_minute": None,
            "aliases": ("other-name",),
            "routes": self._routes(),
            "prices": (
                Prices(
                    version_id=5,
                    effective_from=datetime(2020, 1, 1, tzinfo=UTC),
                    input_nanos_per_million=700_000_000,
                    cached_input_nanos_per_million=70_000_000,
                    output_nanos_per_million=2_500_000_000,
                    reasoning_nanos_per_million=2_500_000_000,
                ),
            ),
            **self._model,
            **model,
        }
        return Snapshot(version=version, service=ServiceEntry(), ordered=(ModelEntry(**fields),))

    async def _read(self) -> Snapshot:
        self.reads += 1
        return self.snapshot(self.gate.catalogue_version)

    async def chat(self, content: str = "Hi", **fields: Any) -> Reply:
        """Ask for a completion."""
        return await self.post(body(content, **fields))

    async def post(
        self,
        content: bytes | dict[str, Any],
        path: str = PATH,
        *,
        headers: dict[str, str] | None = None,
        method: str = "POST",
    ) -> Reply:
        """Send a request and return the whole reply."""
        reply = Reply()
        await self.send(content, reply, path, headers=headers, method=method)
        return reply

    def begin(
        self, content: bytes | dict[str, Any], path: str = PATH
    ) -> "tuple[asyncio.Task[None], Reply]":
        """Send a request and return its task, to cancel as a server does when a client leaves."""
        reply = Reply()
        return asyncio.get_running_loop().create_task(self.send(content, reply, path)), reply

    async def send(
        self,
        content: bytes | dict[str, Any],
        reply: Reply,
        path: str = PATH,
        *,
        headers: dict[str, str] | None = None,
        method: str = "POST",
        before_write: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """Send a request and fill the reply as its parts come."""
        payload = content if isinstance(content, bytes) else json.dumps(content).encode()
        given = {
            "authorization": f"Bearer {KEY}",
            "content-type": "application/json",
            "content-length": str(len(payload)),
            **(headers or {}),
        }
        path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "scheme": "http",
            "client": ("127.0.0.1", 50000),
            "headers": [(k.encode(), v.encode()) for k, v in given.items() if v],
        }
        messages = iter([{"type": "http.request", "body": payload, "more_body": False}])

        async def receive() -> Any:
            return next(messages, {"type": "http.disconnect"})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                assert reply.status == 0
                reply.status = message["status"]
                reply.headers = {k.decode(): v.decode() for k, v in message["headers"]}
                return
            assert not reply.is_complete
            reply.body += message["body"]
            reply.is_complete = not message.get("more_body", False)
            if before_write is not None:
                await before_write()

        found = match(path)
        assert found is not None
        await handle(self.gateway, found, scope, receive, send)


def body(content: Any = "Hi", **fields: Any) -> dict[str, Any]:
    """Return a chat completion's body."""
    return {
        "model": "public-model",
        "messages": [{"role": "user", "content": content}],
        **fields,
    }
