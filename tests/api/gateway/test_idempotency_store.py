"""What is stored of requests with an Idempotency-Key, for how long, and what a crash leaves."""

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from cryptography.exceptions import InvalidTag
from django.db import connection
from django.utils import timezone
from msgspec.structs import replace

from api import tasks
from api.gateway.idempotency_store import KeyClaim
from api.models import IdempotentRequest
from billing.models import ProcessLease, Reservation, UsageRecord
from tests.api.gateway import upstream as scripted
from tests.api.gateway.idempotent import COST_NANOS, Process, add_model, charges, is_replay, served
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import body, in_loop
from tests.cast import IssuedKey
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


@served(answer(completion("The answer is forty-two.")))
async def test_the_row_reveals_nothing(process: Process, there: scripted.Upstream) -> None:
    await process.ask("my-order-4711", content=body("What is the question?"))
    dumped = await sync_to_async(_dump)()
    for secret in (b"forty-two", b"question", b"4711", b"public-model", process.key.encode()):
        assert secret not in dumped
    row = await sync_to_async(IdempotentRequest.objects.get)()
    request_id, sealed = row.request_id.hex, bytes(row.answer)

    def claim(key: str, idempotency_key: bytes = b"my-order-4711") -> KeyClaim:
        return KeyClaim(process.gateway.jobs, key, idempotency_key)

    assert b"forty-two" in claim(process.key).unseal(request_id, sealed).body
    for stranger in (claim(process.key + "x"), claim(process.key, b"another")):
        with pytest.raises(InvalidTag):
            stranger.unseal(request_id, sealed)
    with pytest.raises(InvalidTag):
        claim(process.key).unseal(uuid.uuid4().hex, sealed)


def _dump() -> bytes:
    """Return all of the table, its bytes as they are."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM api_idempotentrequest")
        return b"|".join(
            bytes(value) if isinstance(value, memoryview) else str(value).encode()
            for row in cursor.fetchall()
            for value in row
        )


@served(answer(completion()))
async def test_an_answer_is_kept_for_its_time(process: Process, there: scripted.Upstream) -> None:
    await process.ask()
    kept = await sync_to_async(IdempotentRequest.objects.get)()
    assert timedelta(hours=23) < kept.expires_at - timezone.now() < timedelta(hours=25)
    await sync_to_async(IdempotentRequest.objects.update)(expires_at=timezone.now())
    again = await process.ask()
    assert (is_replay(again), len(there.calls)) == (False, 2)
    assert is_replay(await process.ask())


@pytest.mark.parametrize(
    ("fate", "expected"),
    [
        ("nothing reserved", 200),
        ("hold open", 409),
        ("charged", 410),
        ("alive", 409),
    ],
)
@in_loop
async def test_what_a_repeat_gets_after_its_process_died(
    key: str, fate: str, expected: int
) -> None:
    async with scripted.Upstream(answer(completion())) as there:
        await sync_to_async(add_model)(there.port)
        async with Process(key) as process:
            await process.ask()
            await sync_to_async(_forge)(fate)
            again = await process.ask()
    await sync_to_async(Reservation.objects.filter(state="open").update)(
        state="released", ended_at=timezone.now()
    )
    assert (again.status, is_replay(again)) == (expected, False)
    assert len(there.calls) == (2 if expected == 200 else 1)


def _forge(fate: str) -> None:
    """Make the only request one that ended so, its process dead, its answer lost."""
    lease = ProcessLease.objects.create(
        process="dead",
        started_at=timezone.now(),
        renewed_at=timezone.now(),
        ended_at=None if fate == "alive" else timezone.now(),
    )
    request_id = UsageRecord.objects.get().request_id if fate == "charged" else uuid.uuid4()
    IdempotentRequest.objects.update(
        state="running", answer=b"", lease_id=lease.pk, request_id=request_id
    )
    if fate == "hold open":
        hold = Reservation.objects.get()
        hold.pk, hold.state, hold.ended_at = request_id, "open", None
        hold.save(force_insert=True)


@served(answer(completion()))
async def test_an_answer_is_delivered_while_it_cannot_be_stored_and_stored_later(
    process: Process, there: scripted.Upstream
) -> None:
    jobs, failures = process.gateway.jobs, 1
    execute = jobs.execute

    async def flaky(statement: str, row: tuple[object, ...]) -> list[Any]:
        nonlocal failures
        if "UPDATE api_idempotentrequest" in statement and failures:
            failures -= 1
            raise psycopg.OperationalError("away")
        return await execute(statement, row)

    jobs.execute = flaky  # type: ignore[method-assign]
    process.gateway.limits = replace(process.gateway.limits, settle_wait_seconds=0.05)
    assert (await process.ask()).status == 200
    assert (await process.ask()).status == 409
    await eventually_async(lambda: not process.gateway._background)
    assert is_replay(await process.ask())
    assert await charges() == [COST_NANOS]


def test_celery_deletes_what_has_expired_but_not_what_runs(alices_key: IssuedKey) -> None:
    now = timezone.now()
    alive = ProcessLease.objects.create(process="a", started_at=now, renewed_at=now)
    dead = ProcessLease.objects.create(process="b", started_at=now, renewed_at=now, ended_at=now)
    for name, state, lease, hours in (
        ("expired", "stored", alive, -1),
        ("kept", "stored", dead, 1),
        ("runs", "running", alive, -1),
        ("died", "running", dead, -1),
    ):
        IdempotentRequest.objects.create(
            id=name,
            key=alices_key.key,
            request_id=uuid.uuid4(),
            state=state,
            lease_id=lease.pk,
            expires_at=now + timedelta(hours=hours),
        )
    assert tasks.forget_idempotent_requests() == 2
    assert set(IdempotentRequest.objects.values_list("id", flat=True)) == {"kept", "runs"}
