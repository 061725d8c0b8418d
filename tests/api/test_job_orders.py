"""Orders of jobs over HTTP: their rows, with an Idempotency-Key, a maximum cost, several keys."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from asgiref.sync import sync_to_async

from api.jobs.poll import JobUpstream
from api.models import ChatJob, IdempotentRequest, Model, Route, Upstream, UpstreamKey, VideoJob
from billing.ledger import postings
from billing.models import CreditAccount, PriceVersion, Product
from tests.api.gateway import upstream as scripted
from tests.api.gateway.idempotent import Process, error, is_replay
from tests.api.gateway.upstream import answer
from tests.api.gateway.world import Reply, body, in_loop
from tests.billing.gates import database
from tests.cast import IssuedKey

pytestmark = pytest.mark.django_db(transaction=True)

PRICE_NANOS = 50_000_000
VIDEO = {"model": "film", "prompt": "A bird"}
VIDEOS, CHATS = "/v1/videos/generations", "/v1/async/chat/completions"
REVOKED = {"error": {"message": "bad key", "code": "invalid_api_key"}}


@pytest.fixture
def secret(alices_account: CreditAccount, alices_key: IssuedKey, settings: Any) -> str:
    settings.DATABASE_URL = database()
    postings.grant(alices_account, amount_nanos=10**10, reference="test", memo="")
    return alices_key.plaintext


def make_models(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a model of videos and one of chats, at an upstream with two keys."""
    there = Upstream.objects.create(name="there", base_url=f"http://127.0.0.1:{port}/v1")
    for name in ("first", "second"):
        monkeypatch.setenv(f"UPSTREAM_{name.upper()}", f"sk-{name}")
        there.keys.create(name=name, api_key_env=f"UPSTREAM_{name.upper()}")
    for name, kind, rates in (
        ("film", "video", {"piece_nanos": PRICE_NANOS}),
        ("public-model", "chat", {"output_nanos_per_million": 10**12}),
    ):
        product = Product.objects.create(sku=name)
        since = datetime(2020, 1, 1, tzinfo=UTC)
        PriceVersion.objects.create(product=product, effective_from=since, **rates)
        model = Model.objects.create(name=name, kind=kind, product=product, max_output_tokens=99)
        Route.objects.create(model=model, upstream=there, upstream_model="m")


def ordering(*scripts: scripted.Script) -> Callable[..., Any]:
    """Run an async test with a process and an upstream of these scripts."""

    def decorate(test: Callable[..., Any]) -> Callable[..., None]:
        @in_loop
        async def run(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
            async with scripted.Upstream(*scripts) as there:
                await sync_to_async(make_models)(there.port, monkeypatch)
                async with Process(secret) as process:
                    await test(process, there)

        def begin(secret: str, monkeypatch: pytest.MonkeyPatch) -> None:
            run(secret, monkeypatch)

        begin.__name__, begin.__doc__ = test.__name__, test.__doc__
        return begin

    return decorate


async def order(process: Process, path: str, content: Any, **headers: str) -> Reply:
    authorized = {"authorization": f"Bearer {process.key}"}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await process.post(content, path, headers=authorized | named)


@ordering(answer(REVOKED, 401), answer({"id": "theirs"}))
async def test_a_job_is_asked_for_with_the_key_that_ordered_it(
    process: Process, there: scripted.Upstream
) -> None:
    reply = await order(process, VIDEOS, VIDEO)
    assert (reply.status, len(there.calls)) == (200, 2)
    ordered_with = there.heads[1].lower().partition("bearer sk-")[2].split("\r\n")[0]
    job = await sync_to_async(VideoJob.objects.select_related("upstream", "upstream_key").get)()
    assert (job.upstream_job_id, job.upstream_key.name) == ("theirs", ordered_with)
    assert [each["key"] for each in job.attempts][-1] == ordered_with

    def asked_with(job: VideoJob) -> str:
        asked: list[str] = []

        def take(request: httpx.Request) -> httpx.Response:
            asked.append(request.headers["authorization"])
            return httpx.Response(200, stream=httpx.ByteStream(b'{"status": "processing"}'))

        with JobUpstream(httpx.MockTransport(take)) as upstream:
            upstream.ask(job)
        return asked[0]

    assert await sync_to_async(asked_with)(job) == f"Bearer sk-{ordered_with}"
    # Its key may go before it ends: another one of the upstream's may know the job.
    await sync_to_async(UpstreamKey.objects.filter(name=ordered_with).delete)()
    find = VideoJob.objects.select_related("upstream", "upstream_key")
    job = await sync_to_async(find.prefetch_related("upstream__keys").get)()
    assert await sync_to_async(asked_with)(job) != f"Bearer sk-{ordered_with}"


@ordering(answer({"id": "theirs"}))
async def test_an_order_is_made_once_within_its_maximum_cost(
    process: Process, there: scripted.Upstream
) -> None:
    for max_cost in ("0.049999999", "0"):
        low = await order(process, VIDEOS, VIDEO, idempotency_key="one", x_max_cost=max_cost)
        assert low.status == 400
    assert not await sync_to_async(IdempotentRequest.objects.exists)()
    asking = [
        order(process, VIDEOS, VIDEO, idempotency_key="one", x_max_cost="0.05") for _ in range(4)
    ]
    replies = await asyncio.gather(*asking)
    again = await order(process, VIDEOS, VIDEO, idempotency_key="one", x_max_cost="0.050")
    assert is_replay(again)
    answers = {reply.body for reply in (*replies, again) if reply.status == 200}
    assert len(answers) == len(there.calls) == await sync_to_async(VideoJob.objects.count)() == 1
    changed = await order(process, VIDEOS, VIDEO, idempotency_key="one")
    assert error(changed) == (422, "idempotency_key_reused")


@ordering()
async def test_a_chat_keeps_its_maximum_cost(process: Process, there: scripted.Upstream) -> None:
    asked = body(max_cost=0.020)
    first = await order(process, CHATS, asked, idempotency_key="one")
    assert is_replay(await order(process, CHATS, asked, idempotency_key="one"))
    job = await sync_to_async(ChatJob.objects.get)()
    assert f"chat-{job.pk.hex}" == first.json["id"]
    assert json.loads(job.body)["max_cost"] == "0.02"
    assert job.held_nanos == 20_000_000
