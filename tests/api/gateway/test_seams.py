"""Refused extensions, idempotent repeats and clients that disconnect, together: a real ledger."""

import asyncio

import pytest
from asgiref.sync import sync_to_async

from accounts.api_keys import rotate_key
from accounts.models import ApiKey
from api.models import Model
from billing.models import CreditAccount, UsageRecord
from tests.api.gateway import upstream as scripted
from tests.api.gateway.idempotent import Process, charges, error, is_replay, rows, served
from tests.api.gateway.test_growing_holds import parts, text_bytes
from tests.api.gateway.upstream import DONE, GOOD_STREAM, answer, chunk, completion, stream
from tests.api.gateway.world import Reply, body
from tests.billing.conftest import broken_invariants
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)

# Enough for the first slice and most of another.
BUDGET_NANOS = 6_000_000
LONG = body(stream=True, max_tokens=100_000)


@sync_to_async
def limit(budget_nanos: int = BUDGET_NANOS) -> None:
    ApiKey.objects.update(budget_total_nanos=budget_nanos)
    Model.objects.update(max_output_tokens=100_000)


@sync_to_async
def check_ledger(*outcomes: str) -> None:
    """Check that nothing is held and that the requests ended so."""
    assert list(UsageRecord.objects.order_by("pk").values_list("outcome", flat=True)) == [*outcomes]
    assert not CreditAccount.objects.filter(held_nanos__gt=0).exists()
    assert broken_invariants() == {}


@pytest.mark.parametrize("is_disconnected", [False, True], ids=["read", "disconnected"])
def test_an_answer_that_was_cut_is_replayed_for_free(key: str, is_disconnected: bool) -> None:
    @served(parts(60))
    async def ask(process: Process, there: scripted.Upstream) -> None:
        await limit()
        first = Reply()
        asked = asyncio.create_task(process.ask(content=LONG, reply=first))
        if is_disconnected:
            await eventually_async(lambda: text_bytes(first) >= 300)
            asked.cancel()
        await asyncio.wait([asked])
        await eventually_async(lambda: not process.gateway._background)
        await limit(0)  # a repeat needs no budget
        again = await process.ask(content=LONG)
        assert is_replay(again)
        assert again.body.startswith(first.body)
        assert is_disconnected or again.body == first.body
        ending = again.events[-1]["error"]
        (charged,) = await charges()
        assert (ending["code"], ending["usage"]["cost"]) == ("budget_exceeded", charged / 10**9)
        assert ending["usage"]["completion_tokens"] == text_bytes(again) // 4
        assert len(there.calls) == 1
        await check_ledger("budget_exceeded")

    ask(key)


@served(stream(chunk("x" * 50_000), chunk(finish="stop"), DONE), stream(*GOOD_STREAM))
async def test_an_answer_that_never_began_is_free_and_may_be_tried_again(
    process: Process, there: scripted.Upstream
) -> None:
    await limit()
    first = await process.ask(content=LONG)
    assert error(first) == (402, "budget_exceeded")
    assert (await charges(), await rows()) == ([], [])
    again = await process.ask(content=LONG)
    assert (again.text, is_replay(again), len(there.calls)) == ("Hello", False, 2)
    await check_ledger("budget_exceeded", "completed")


@served(answer(completion()))
async def test_an_idempotency_key_belongs_to_one_secret(
    process: Process, there: scripted.Upstream
) -> None:
    """A rotated key runs the request again, and never sees the first one's answer."""
    first = await process.ask()
    old = await sync_to_async(ApiKey.objects.get)()
    _, new = await sync_to_async(rotate_key)(old, 3600)
    under_new = await process.ask(key=new)
    assert (under_new.status, is_replay(under_new), len(there.calls)) == (200, False, 2)
    for secret, reply in ((process.key, first), (new, under_new)):
        again = await process.ask(key=secret)
        assert (is_replay(again), again.headers["x-request-id"]) == (
            True,
            reply.headers["x-request-id"],
        )
    assert len(await charges()) == 2
