"""Chats that wait for their answer: claimed, put off, given up, ended and settled once."""

import asyncio
import json
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from api.models import ChatJob, Model, Route, Upstream
from api.operations import async_chat_worker as worker
from billing.models import CatalogueVersion, PriceVersion, Product, Reservation, UsageRecord
from tests.api.gateway import upstream as scripted
from tests.api.gateway.upstream import Script, answer, completion, raw, stream
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, admit, database, make_customer

pytestmark = pytest.mark.django_db(transaction=True)

HELD = 10_000_000
BODY = {"model": "chatter", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 50}
USED = {"prompt_tokens": 2, "completion_tokens": 3, "total_tokens": 5}
OK = answer(completion("Hello", usage=USED))


@pytest.fixture
def customer(settings: Any) -> Customer:
    settings.DATABASE_URL = database()
    return make_customer(10 * HELD)


def make_job(customer: Customer, **changes: Any) -> ChatJob:
    """Make a job whose cost is held, for a model without a route yet."""
    product, _ = Product.objects.get_or_create(sku="chatter")
    now = timezone.now()
    price, _ = PriceVersion.objects.get_or_create(
        product=product,
        defaults={
            "effective_from": now - timedelta(days=1),
            "input_nanos_per_million": 10**9,
            "output_nanos_per_million": 10**9,
        },
    )
    Model.objects.get_or_create(name="chatter", defaults={"product": product})
    version = CatalogueVersion.objects.get(pk=1).version
    ask = customer.ask(
        amount_nanos=HELD, price_version_id=price.pk, tokens=0, catalogue_version=version
    )
    assert admit(ask)[0].code == "admitted"
    fields = {
        "pk": ask.request_id,
        "team": customer.team,
        "account": customer.account,
        "key": customer.key,
        "price_version": price,
        "model": "chatter",
        "surface": "v1",
        "held_nanos": HELD,
        "body": json.dumps(BODY),
        "expires_at": now + timedelta(minutes=30),
        "next_run_at": now - timedelta(seconds=1),
    }
    return ChatJob.objects.create(**(fields | changes))


def run_round(*scripts: Script, **route: Any) -> tuple[int, list[dict[str, Any]]]:
    """Let a worker answer what is due, at an upstream of these scripts. Return what was asked."""

    async def served() -> tuple[int, list[dict[str, Any]]]:
        async with scripted.Upstream(*scripts) as server:
            await asyncio.to_thread(_route_to, server.port, route)
            count = await asyncio.to_thread(worker.run_due)
            return count, server.calls

    return asyncio.run(served())


def _route_to(port: int, route: dict[str, Any]) -> None:
    upstream, _ = Upstream.objects.update_or_create(
        name="there",
        defaults={"base_url": f"http://127.0.0.1:{port}/v1", "idle_timeout_seconds": 1},
    )
    model = Model.objects.get(name="chatter")
    Route.objects.update_or_create(
        model=model, upstream=upstream, upstream_model="theirs", defaults=route
    )
    connection.close()


def reservation_of(job: ChatJob) -> str:
    return Reservation.objects.get(pk=job.pk).state


def test_a_job_is_answered_settled_and_its_conversation_erased(customer: Customer) -> None:
    job = make_job(customer)
    count, asked = run_round(OK)
    job.refresh_from_db()
    assert count == 1
    assert (job.state, job.body, job.error, job.runs) == ("completed", "", "", 1)
    assert json.loads(job.answer)["choices"][0]["message"]["content"] == "Hello"
    assert json.loads(job.answer)["model"] == "chatter"
    assert asked[0]["model"] == "theirs"
    assert not asked[0].get("stream")
    record = UsageRecord.objects.get(pk=job.pk)
    assert (record.input_tokens, record.output_tokens, record.charged_nanos) == (2, 3, 5_000)
    assert record.endpoint == "async_chat_completions"
    assert reservation_of(job) == "settled"
    assert run_round(OK)[0] == 0


def test_its_answer_may_be_put_together_of_a_stream(customer: Customer) -> None:
    job = make_job(customer)
    _, asked = run_round(stream(*scripted.GOOD_STREAM), streams_plain_answers=True)
    job.refresh_from_db()
    assert asked[0]["stream"] is True
    assert json.loads(job.answer)["choices"][0]["message"]["content"] == "Hello"


def test_the_price_is_that_of_the_admission(customer: Customer) -> None:
    """It is ten times as high by now; the hold still pays for what it was made for."""
    job = make_job(customer, body=json.dumps({**BODY, "max_tokens": 8_000}))
    PriceVersion.objects.create(
        product=Product.objects.get(sku="chatter"),
        effective_from=timezone.now(),
        input_nanos_per_million=10**10,
        output_nanos_per_million=10**10,
    )
    _, asked = run_round(OK)
    assert UsageRecord.objects.get(pk=job.pk).charged_nanos == 5_000
    # 10,000,000 nano-dollars buy 10,000 tokens, of which the prompt has few.
    assert asked[0]["max_tokens"] == 8_000


def test_the_hold_bounds_the_output(customer: Customer) -> None:
    body = json.dumps({**BODY, "max_tokens": 8_000})
    make_job(customer, held_nanos=1_000_000, body=body)
    _, asked = run_round(OK)
    assert 500 < asked[0]["max_tokens"] < 1_000


@pytest.mark.parametrize("script", [answer(b"{}", 500), answer(b"{}", 400), raw(b"")])
def test_a_failure_ends_it_free_of_charge(customer: Customer, script: Script) -> None:
    job = make_job(customer)
    run_round(script)
    job.refresh_from_db()
    assert (job.state, job.body, job.answer) == ("failed", "", "")
    assert job.error
    assert job.error_code
    assert UsageRecord.objects.get(pk=job.pk).charged_nanos == 0
    assert reservation_of(job) == "released"


def test_its_maximum_cost_bounds_its_charge(customer: Customer) -> None:
    body = {**BODY, "max_cost": "0.000004"}
    job = make_job(customer, held_nanos=HELD, body=json.dumps(body))
    lot = {"prompt_tokens": 2, "completion_tokens": 5_000, "total_tokens": 5_002}
    _, [asked] = run_round(answer(completion("Hello", usage=lot)))
    assert "max_cost" not in asked
    record = UsageRecord.objects.get(pk=job.pk)
    assert (record.charged_nanos, record.written_off_nanos) == (4_000, 0)
    assert broken_invariants() == {}


def test_a_busy_model_puts_it_off(customer: Customer) -> None:
    job = make_job(customer)
    before = timezone.now()
    run_round(answer(b"{}", 429, retry_after="40"))
    job.refresh_from_db()
    assert (job.state, job.runs) == ("processing", 0)
    assert job.next_run_at > before + timedelta(seconds=35)
    assert reservation_of(job) == "open"
    assert not UsageRecord.objects.filter(pk=job.pk).exists()


def test_one_that_is_late_has_failed_without_a_call(customer: Customer) -> None:
    job = make_job(customer, expires_at=timezone.now() - timedelta(seconds=1))
    _, asked = run_round(OK)
    job.refresh_from_db()
    assert (job.state, job.error, job.error_code) == ("expired", worker.LATE, "chat_expired")
    assert asked == []
    assert reservation_of(job) == "released"


def test_one_that_its_workers_died_of_is_given_up(customer: Customer) -> None:
    job = make_job(customer, runs=worker.MAX_RUNS)
    _, asked = run_round(OK)
    job.refresh_from_db()
    assert (job.state, job.error) == ("failed", worker.LOST)
    assert asked == []


def test_a_job_that_another_worker_has_is_left_alone(customer: Customer) -> None:
    job = make_job(customer, next_run_at=timezone.now() + timedelta(seconds=20))
    assert run_round(OK)[0] == 0
    job.refresh_from_db()
    assert job.state == "processing"


def test_a_worker_that_was_overtaken_changes_nothing(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another one ended the job while this one asked the upstream."""
    job = make_job(customer)
    run = worker._end_once

    def overtaken(*arguments: Any) -> Any:
        ended = {"answer": '{"theirs": 1}', "body": "", "ended_at": timezone.now()}
        ChatJob.objects.filter(pk=job.pk).update(state="completed", **ended)
        return run(*arguments)

    monkeypatch.setattr(worker, "_end_once", overtaken)
    run_round(OK)
    job.refresh_from_db()
    assert job.answer == '{"theirs": 1}'
    assert reservation_of(job) == "open"


def test_its_claim_is_renewed_as_long_as_it_is_being_answered(
    customer: Customer, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = make_job(customer)
    monkeypatch.setattr(worker, "LEASE_SECONDS", 1)
    monkeypatch.setattr(worker, "RENEW_SECONDS", 0.2)
    monkeypatch.setattr(worker, "CLAIM_SECONDS", 0.1)
    _, asked = run_round(_after(2.5, OK))
    job.refresh_from_db()
    assert (job.state, job.runs, len(asked)) == ("completed", 1, 1)


def _after(seconds: float, script: Script) -> Script:
    async def late(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(seconds)
        await script(writer)

    return late


def test_no_more_than_two_processes_answer_chats(customer: Customer) -> None:
    job = make_job(customer)
    with psycopg.connect(database(), autocommit=True) as others:
        for slot in range(worker.SLOTS):
            others.execute("SELECT pg_advisory_lock(%s, %s)", (worker._LOCKS, slot))
        assert run_round(OK)[0] == 0
    job.refresh_from_db()
    assert job.state == "processing"
    assert run_round(OK)[0] == 1


def test_answers_are_forgotten_after_a_day(customer: Customer) -> None:
    ended = timezone.now() - timedelta(hours=24, minutes=1)
    old = make_job(customer, state="completed", body="", answer="{}", ended_at=ended)
    recent = ended + timedelta(minutes=2)
    young = make_job(customer, state="completed", body="", answer="{}", ended_at=recent)
    waiting = make_job(customer)
    assert worker.forget_old() == 1
    assert ChatJob.objects.filter(pk__in=[young.pk, waiting.pk]).count() == 2
    assert not ChatJob.objects.filter(pk=old.pk).exists()
