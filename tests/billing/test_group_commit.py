"""Lanes: rows that wait together go together, and what becomes of them when things fail."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from django.db import connection

from billing.ledger import group_commit
from billing.ledger.group_commit import (
    BatchQueue,
    LedgerUnavailableError,
    RefusedRowError,
    RowResult,
)
from tests.billing.faulty_link import FaultyLink
from tests.billing.ledger_calls import connect, database, new_id, run
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.django_db(transaction=True)


class ToyAnswer(RowResult, kw_only=True):
    """What the toy says: how many rows came with this one, and how often it was called."""

    rows: int = 0
    call: int = 0
    code: str = "done"


# A toy with a queue's signature. A row may name an SQLSTATE that it raises, always (`raises`) or
# in the first three calls (`raises_at_first`); it may be unknown (`is_unknown`) or take `seconds`.
TOY = """
CREATE SEQUENCE toy_calls;
CREATE FUNCTION toy_queue(batch jsonb) RETURNS TABLE (request_id text, rows integer, call bigint)
LANGUAGE plpgsql AS $$
DECLARE
    this_call bigint := nextval('toy_calls');
    state text;
BEGIN
    PERFORM pg_sleep(max((r->>'seconds')::float)) FROM jsonb_array_elements(batch) AS r;
    SELECT max(coalesce(r->>'raises', CASE WHEN this_call <= 3 THEN r->>'raises_at_first' END))
    INTO state FROM jsonb_array_elements(batch) AS r;
    IF state IS NOT NULL THEN
        RAISE EXCEPTION 'the toy raises' USING ERRCODE = state;
    END IF;
    RETURN QUERY SELECT r->>'request_id', jsonb_array_length(batch), this_call
                 FROM jsonb_array_elements(batch) AS r WHERE r->>'is_unknown' IS NULL;
END
$$;
"""


@pytest.fixture(autouse=True)
def _toy() -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(TOY)
    yield
    with connection.cursor() as cursor:
        cursor.execute("DROP FUNCTION IF EXISTS toy_queue; DROP SEQUENCE toy_calls")


@asynccontextmanager
async def toy_queue(
    address: str | None = None, *, patience: float | None = None, function: str = "toy_queue"
) -> AsyncIterator[BatchQueue[ToyAnswer]]:
    """Give an open queue to the toy, and close it."""
    queue = BatchQueue(
        function,
        database() if address is None else address,
        ToyAnswer,
        patience_seconds=patience,
        missing=lambda request_id: ToyAnswer(request_id=request_id, code="missing"),
    )
    queue.open()
    try:
        yield queue
    finally:
        await queue.drain(0)
        await queue.stop()


def send(queue: BatchQueue[ToyAnswer], **row: Any) -> asyncio.Future[ToyAnswer]:
    """Submit a row."""
    row = {"request_id": new_id()} | row
    return queue.submit(row["request_id"], json.dumps(row).encode())


def toy_runs() -> bool:
    """Return whether the toy was called; a statement in flight counts."""
    with connect() as own:
        return bool(own.execute("SELECT is_called FROM toy_calls").fetchone()[0])


async def answers_of(rows: list[asyncio.Future[ToyAnswer]]) -> list[Any]:
    """Return the rows' answers or exceptions, in order."""
    return await asyncio.gather(*rows, return_exceptions=True)


def test_rows_that_wait_while_a_statement_is_in_flight_go_together_in_the_next():
    async def work() -> list[ToyAnswer]:
        async with toy_queue() as queue:
            first = send(queue, seconds=0.2)
            await eventually_async(toy_runs)
            return await answers_of([first, *[send(queue) for _ in range(20)]])

    first, *others = run(work())

    assert (first.rows, first.call) == (1, 1)
    assert {(answer.rows, answer.call) for answer in others} == {(20, 2)}


def test_a_statement_takes_so_many_rows_at_most(monkeypatch):
    monkeypatch.setattr(group_commit, "MAX_ROWS", 8)

    async def work() -> list[ToyAnswer]:
        async with toy_queue() as queue:
            return await answers_of([send(queue) for _ in range(20)])

    assert [answer.rows for answer in run(work())] == [8] * 16 + [4] * 4


def test_each_row_gets_its_own_answer_whatever_the_spelling_of_its_id():
    async def work() -> list[tuple[str, ToyAnswer]]:
        ids = [new_id() for _ in range(10)]
        ids += [new_id().replace("-", "") for _ in range(10)]
        async with toy_queue() as queue:
            answers = await answers_of([send(queue, request_id=one) for one in ids])
        return list(zip(ids, answers, strict=True))

    assert all(asked == answer.request_id for asked, answer in run(work()))


def test_a_row_that_the_function_passes_over_is_missing():
    async def work() -> list[ToyAnswer]:
        async with toy_queue() as queue:
            return await answers_of([send(queue), send(queue, is_unknown=True), send(queue)])

    assert [answer.code for answer in run(work())] == ["done", "missing", "done"]


@pytest.mark.parametrize("state", ["23514", "22003", "23505"])
def test_a_bad_row_is_refused_and_its_neighbours_go_through(state):
    async def work() -> list[Any]:
        async with toy_queue() as queue:
            return await answers_of([send(queue), send(queue, raises=state), send(queue)])

    before, bad, after = run(work())

    assert isinstance(bad, RefusedRowError)
    assert (before.code, before.rows, after.code, after.rows) == ("done", 1, "done", 1)


@pytest.mark.parametrize(
    "state",
    [
        pytest.param("57P01", id="shut down"),
        pytest.param("40P01", id="deadlock"),
        pytest.param("53300", id="too many connections"),
        pytest.param("25006", id="read-only after a failover"),
        pytest.param("42501", id="no rights"),
        pytest.param("XX000", id="internal error"),
        pytest.param("P0001", id="the functions' own guard"),
        pytest.param("42883", id="a function that is not there yet"),
        pytest.param("42703", id="a column that is not there yet"),
        pytest.param("23502", id="a column that this process does not know"),
    ],
)
def test_what_is_no_rows_fault_is_tried_again(state):
    """Refusing would lose settlements for what the database is just now."""

    async def work() -> list[ToyAnswer]:
        async with toy_queue() as queue:
            return await answers_of([send(queue), send(queue, raises_at_first=state)])

    answers = run(work())

    assert [answer.code for answer in answers] == ["done", "done"]


@pytest.mark.parametrize("state", ["P0001", "XX000", "23502"])
def test_a_row_that_the_database_always_fails_on_holds_nobody_up(state):
    """It stays until it can be done: nobody knows that the fault is the row's."""

    async def work() -> tuple[list[Any], bool]:
        async with toy_queue() as queue:
            bad = send(queue, raises=state)
            others = [send(queue), send(queue)]
            first = await asyncio.wait_for(answers_of(others), 5)
            second = await asyncio.wait_for(answers_of([send(queue)]), 5)
            is_waiting = not bad.done()
            await queue.drain(0)
            await answers_of([bad])
            return first + second, is_waiting

    answers, is_waiting = run(work())

    assert [answer.code for answer in answers] == ["done"] * 3
    assert is_waiting


def test_a_function_that_is_not_there_yet_is_waited_for():
    """As while a deploy's migrations run."""

    async def work() -> ToyAnswer:
        async with toy_queue(function="toy_later") as queue:
            row = send(queue)
            await asyncio.sleep(0.3)
            with connect() as own:
                own.execute(TOY.replace("toy_calls", "toy_later_calls").replace("queue", "later"))
            try:
                return await row
            finally:
                with connect() as own:
                    own.execute("DROP FUNCTION toy_later; DROP SEQUENCE toy_later_calls")

    assert run(work()).code == "done"


def test_an_answer_that_nobody_understands_does_not_end_the_lane(monkeypatch):
    async def work() -> list[Any]:
        async with toy_queue(patience=0.3) as queue:
            decoder = queue._decoder
            queue._decoder = None
            lost = await answers_of([send(queue)])
            queue._decoder = decoder
            return lost + await answers_of([send(queue)])

    lost, found = run(work())

    assert isinstance(lost, LedgerUnavailableError)
    assert found.code == "done"


def test_an_unreachable_database_is_told_within_the_patience():
    async def work() -> tuple[list[Any], float]:
        async with FaultyLink() as link, toy_queue(link.address, patience=0.5) as queue:
            await link.close()
            began_at = time.monotonic()
            return await answers_of([send(queue) for _ in range(5)]), time.monotonic() - began_at

    answers, seconds = run(work())

    assert {type(answer) for answer in answers} == {LedgerUnavailableError}
    assert 0.5 <= seconds < 15


def test_service_is_back_by_itself_with_the_database():
    async def work() -> list[Any]:
        async with FaultyLink() as link, toy_queue(link.address, patience=0.3) as queue:
            before = await answers_of([send(queue)])
            await link.close()
            away = await answers_of([send(queue)])
            await link.open()
            return before + away + await answers_of([send(queue)])

    before, away, after = run(work())

    assert before.code == after.code == "done"
    assert isinstance(away, LedgerUnavailableError)


def test_a_lane_without_a_bound_waits_for_the_database():
    async def work() -> list[ToyAnswer]:
        async with FaultyLink() as link, toy_queue(link.address) as queue:
            await link.close()
            rows = [send(queue) for _ in range(3)]
            await asyncio.sleep(0.5)
            assert not any(row.done() for row in rows)
            await link.open()
            return await answers_of(rows)

    assert [answer.code for answer in run(work())] == ["done"] * 3


def test_a_batch_whose_answer_was_lost_is_sent_again():
    async def work() -> list[ToyAnswer]:
        async with FaultyLink() as link, toy_queue(link.address) as queue:
            await send(queue)
            link.lose_next_answer()
            return await answers_of([send(queue), send(queue)])

    assert [(answer.rows, answer.call) for answer in run(work())] == [(2, 3), (2, 3)]


def test_a_database_that_hangs_is_left_for_a_new_connection(monkeypatch):
    monkeypatch.setattr(group_commit, "STATEMENT_TIMEOUT_SECONDS", 0.3)
    monkeypatch.setattr(group_commit, "CONNECT_TIMEOUT_SECONDS", 0.3)

    async def work() -> tuple[ToyAnswer, float]:
        async with FaultyLink() as link, toy_queue(link.address) as queue:
            await send(queue)
            link.hold()
            row = send(queue)
            await asyncio.sleep(1.5)
            link.release()
            released_at = time.monotonic()
            return await row, time.monotonic() - released_at

    answer, seconds = run(work())

    assert answer.code == "done"
    assert seconds < 15


def test_draining_waits_for_what_is_queued():
    async def work() -> tuple[list[bytes], list[str]]:
        async with toy_queue() as queue:
            rows = [send(queue, seconds=0.2), send(queue), send(queue)]
            left = await queue.drain(5)
            return left, [row.result().code for row in rows]

    assert run(work()) == ([], ["done"] * 3)


def test_draining_returns_what_is_left_and_tells_those_who_wait():
    async def work() -> tuple[list[bytes], list[Any], float]:
        async with FaultyLink() as link, toy_queue(link.address, patience=60) as queue:
            await link.close()
            rows = [send(queue, request_id="a"), send(queue, request_id="b")]
            began_at = time.monotonic()
            left = await queue.drain(0.2)
            return left, await answers_of(rows), time.monotonic() - began_at

    left, answers, seconds = run(work())

    assert [json.loads(payload)["request_id"] for payload in left] == ["a", "b"]
    assert {type(answer) for answer in answers} == {LedgerUnavailableError}
    assert 0.2 <= seconds < 10  # and not the sixty of its patience


def test_a_drained_lane_takes_no_more_rows():
    async def work() -> Any:
        async with toy_queue() as queue:
            await queue.drain(1)
            return await asyncio.wait_for(answers_of([send(queue)]), 1)

    assert [type(answer) for answer in run(work())] == [LedgerUnavailableError]


def test_a_lane_stops_soon_even_while_the_database_hangs():
    """A process that stops has seconds, not the ten that psycopg would wait for a cancellation."""

    async def work() -> float:
        async with FaultyLink() as link, toy_queue(link.address) as queue:
            await send(queue)
            link.hold()
            row = send(queue)
            await asyncio.sleep(0.1)
            began_at = time.monotonic()
            await queue.drain(0)
            await queue.stop()
            seconds = time.monotonic() - began_at
            await answers_of([row])
            return seconds

    assert run(work()) < 2
