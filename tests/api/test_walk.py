"""The walk of a plain chat through our files: how far a reader has to go, and how often back.

A *call* is an entry into a function of ours, or the resumption of a coroutine that waited, from
another file of ours; what is called from elsewhere is entered from nowhere. A *step back* is a call
into a file that the walk was in before. By this count the house before had 30 files, and 82 steps
back in 199 entries.
"""

import asyncio
import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from asgiref.sync import sync_to_async

from api.models import Model, Route, Upstream
from billing.ledger import postings
from billing.models import CreditAccount, PriceVersion, Product
from config.asgi import Application
from tests.api.gateway import upstream as scripted
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import body
from tests.billing.gates import database
from tests.cast import IssuedKey

ROOT = Path(__file__).resolve().parents[2]
OURS = tuple(f"{ROOT / folder}/" for folder in ("accounts", "api", "billing", "platform"))
MOST_FILES = 25
MOST_STEPS_BACK = 40


class Walk:
    """Counts while it is the profiler."""

    def __init__(self) -> None:
        self.files: list[str] = []
        self.entries = 0
        self.steps_back = 0

    def __call__(self, frame: FrameType, event: str, _argument: Any) -> None:
        name = frame.f_code.co_filename
        if event != "call" or not name.startswith(OURS):
            return
        if _is_the_clocks(frame):
            return
        self.entries += 1
        caller = frame.f_back
        while caller is not None and not caller.f_code.co_filename.startswith(OURS):
            caller = caller.f_back
        if caller is not None and caller.f_code.co_filename == name:
            return
        if name in self.files:
            self.steps_back += 1
        else:
            self.files.append(name)


def _is_the_clocks(frame: FrameType | None) -> bool:
    """Return whether the ticker calls, which is on no request's way."""
    while frame is not None and frame.f_code.co_qualname != "DeadlineTicker._tick":
        frame = frame.f_back
    return frame is not None


@pytest.fixture
def one_model(db: None) -> Any:
    def make(port: int) -> None:
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
        Route.objects.create(model=model, upstream=there, upstream_model="upstream-model")

    return make


@pytest.mark.django_db(transaction=True)
def test_the_walk_of_a_plain_chat_is_short(
    alices_account: CreditAccount, alices_key: IssuedKey, settings: Any, one_model: Any
) -> None:
    postings.grant(alices_account, amount_nanos=10**10, reference="walk", memo="")
    settings.DATABASE_URL = database()
    walk = asyncio.run(_walked(alices_key.plaintext, one_model))
    assert len(walk.files) <= MOST_FILES, "\n".join(walk.files)
    assert walk.steps_back <= MOST_STEPS_BACK, (walk.steps_back, walk.entries)


async def _walked(key: str, make: Any) -> Walk:
    walk = Walk()
    async with scripted.Upstream(answer(completion())) as there:
        await sync_to_async(make)(there.port)
        application = Application()
        orders: asyncio.Queue[Any] = asyncio.Queue()
        begun = asyncio.Event()

        async def told(_message: Any) -> None:
            begun.set()

        living = asyncio.create_task(application({"type": "lifespan"}, orders.get, told))
        await orders.put({"type": "lifespan.startup"})
        await begun.wait()
        assert await _chat(application, key) == 200  # the first one connects
        sys.setprofile(walk)
        try:
            status = await _chat(application, key)
        finally:
            sys.setprofile(None)
        assert status == 200
        await orders.put({"type": "lifespan.shutdown"})
        await living
    return walk


async def _chat(application: Application, key: str) -> int:
    payload = json.dumps(body()).encode()
    messages = iter([{"type": "http.request", "body": payload, "more_body": False}])
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [
        (b"authorization", f"Bearer {key}".encode()),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(payload)).encode()),
    ]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    await application(scope, receive, send)
    return int(sent[0]["status"])
