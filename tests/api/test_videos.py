"""Videos' jobs: claimed by one at a time, ended once, settled with their end."""

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.db import connection, transaction
from django.utils import timezone

from api.jobs import poll
from api.jobs.poll import FAILED as FAILED_TEXT
from api.jobs.poll import JobReport, JobUpstream, read_report
from api.models import Model, Route, RouteCost, Upstream, VideoJob
from billing.ledger import expiry, postings
from billing.models import (
    CatalogueVersion,
    LedgerAlert,
    PriceVersion,
    Product,
    Reservation,
    Transfer,
    UsageRecord,
)
from tests.billing.conftest import broken_invariants
from tests.billing.ledger_calls import Customer, admit, make_customer

COMPLETED = JobReport("completed", url="https://videos.invalid/1.mp4")
FAILED = JobReport("failed", error="No birds.")
SILENCE = JobReport("unknown")
PRICE = 200


def make_job(customer: Customer, **changes: Any) -> VideoJob:
    """Make a job whose price is held."""
    now = timezone.now()
    product, _ = Product.objects.get_or_create(sku="video")
    price, _ = PriceVersion.objects.get_or_create(
        product=product, defaults={"effective_from": now, "piece_nanos": PRICE}
    )
    upstream, _ = Upstream.objects.get_or_create(
        name="films",
        defaults={"base_url": "https://films.invalid/v1"},
    )
    upstream.keys.get_or_create(defaults={"api_key_env": "UPSTREAM_FILMS"})
    version = CatalogueVersion.objects.get(pk=1).version
    ask = customer.ask(
        amount_nanos=PRICE, price_version_id=price.pk, tokens=0, catalogue_version=version
    )
    assert admit(ask)[0].code == "admitted"
    fields = {
        "pk": ask.request_id,
        "team": customer.team,
        "account": customer.account,
        "key": customer.key,
        "price_version": price,
        "model": "film",
        "surface": "v1",
        "cost_nanos": PRICE,
        "upstream": upstream,
        "upstream_job_id": "their/1",
        "expires_at": now + timedelta(minutes=30),
        "next_poll_at": now - timedelta(seconds=1),
    }
    made = VideoJob.objects.create(**(fields | changes))
    return VideoJob.objects.select_related("upstream").get(pk=made.pk)


def ends(job: VideoJob) -> tuple[str, str, int, int]:
    """Return the job's state, its reservation's, and how many charges and records there are."""
    job.refresh_from_db()
    return (
        job.state,
        Reservation.objects.get(pk=job.pk).state,
        Transfer.objects.filter(kind="usage", reference=str(job.pk)).count(),
        UsageRecord.objects.filter(pk=job.pk).count(),
    )


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("news", "is_overdue", "expected", "outcome"),
    [
        (COMPLETED, False, ("completed", "settled", 1, 1), "completed"),
        (COMPLETED, True, ("completed", "settled", 1, 1), "completed"),
        (FAILED, False, ("failed", "released", 0, 1), "upstream_error"),
        (SILENCE, True, ("expired", "released", 0, 1), "upstream_timeout"),
        (JobReport("processing"), True, ("expired", "released", 0, 1), "upstream_timeout"),
        (SILENCE, False, ("processing", "open", 0, 0), None),
        (JobReport("processing"), False, ("processing", "open", 0, 0), None),
    ],
)
def test_a_job_ends_by_its_upstreams_word_or_by_its_time(news, is_overdue, expected, outcome):
    customer = make_customer(1000)
    job = make_job(customer)

    assert poll.conclude(job, news, is_overdue=is_overdue) == (outcome is not None)

    assert ends(job) == expected
    if outcome is not None:
        record = UsageRecord.objects.get(pk=job.pk)
        assert (record.outcome, record.charged_nanos) == (outcome, PRICE * expected[2])
        assert record.pieces == expected[2]
        assert record.error == job.error
    assert customer.balances == (1000 - PRICE * expected[2], 0 if outcome else PRICE)


@pytest.mark.django_db
def test_a_finished_video_is_settled_with_its_line():
    job = make_job(make_customer(1000))

    poll.conclude(job, COMPLETED, is_overdue=False)

    assert UsageRecord.objects.get(pk=job.pk).lines == [["piece", 1, PRICE, 1, PRICE]]


@pytest.mark.django_db
def test_a_finished_video_costs_us_what_its_route_did_at_the_order():
    model = Model.objects.create(name="film", product=Product.objects.create(sku="film"))
    upstream = Upstream.objects.create(name="studio", base_url="https://films.invalid/v2")
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="film")
    cost = RouteCost.objects.create(route=route, effective_from=timezone.now(), piece_nanos=150)
    costs = {"upstream": upstream, "route_cost": cost, "upstream_cost_nanos": 150}
    job = make_job(make_customer(1000), **costs)

    poll.conclude(job, COMPLETED, is_overdue=False)

    record = UsageRecord.objects.get(pk=job.pk)
    lines = [["piece", 1, 150, 1, 150]]
    assert record.cost_lines == [
        {"upstream": "studio", "route_cost": cost.pk, "amount_nanos": 150, "lines": lines}
    ]
    assert record.margin_nanos == 50
    assert broken_invariants() == {}


@pytest.mark.django_db
def test_an_ordered_price_that_the_rates_do_not_give_is_charged_without_lines():
    customer = make_customer(1000)
    job = make_job(customer, cost_nanos=PRICE - 1)

    poll.conclude(job, COMPLETED, is_overdue=False)

    record = UsageRecord.objects.get(pk=job.pk)
    assert (record.charged_nanos, record.lines) == (PRICE - 1, [])


@pytest.mark.django_db
def test_an_end_is_final():
    customer = make_customer(1000)
    job = make_job(customer)
    assert poll.conclude(job, FAILED, is_overdue=False)

    assert not poll.conclude(job, COMPLETED, is_overdue=False)
    assert not poll.conclude(job, SILENCE, is_overdue=True)

    assert ends(job) == ("failed", "released", 0, 1)
    assert customer.balances == (1000, 0)


@pytest.mark.django_db
def test_an_order_without_an_upstreams_id_is_lost_and_alerts():
    customer = make_customer(1000)
    job = make_job(customer, upstream_job_id="", upstream=None)

    assert poll.poll_due() >= 1

    assert ends(job) == ("failed", "released", 0, 1)
    assert LedgerAlert.objects.filter(kind="video_order_lost", reference=str(job.pk)).exists()


@pytest.mark.django_db
def test_a_video_that_is_finished_after_its_hold_expired_is_charged_late():
    customer = make_customer(1000)
    job = make_job(customer)
    Reservation.objects.filter(pk=job.pk).update(expires_at=timezone.now() - timedelta(seconds=1))
    expiry.sweep()
    assert customer.balances == (1000, 0)

    assert poll.conclude(job, COMPLETED, is_overdue=True)

    record = UsageRecord.objects.get(pk=job.pk)
    assert (record.is_late, record.charged_nanos, record.outcome) == (True, PRICE, "completed")
    assert customer.balances == (1000 - PRICE, 0)


@pytest.mark.django_db(transaction=True)
def test_twenty_who_race_end_a_job_once():
    customer = make_customer(1000)
    job = make_job(customer)
    start = threading.Barrier(20)
    won: list[tuple[bool, str]] = []

    def race(news: JobReport) -> None:
        try:
            start.wait(10)
            won.append((poll.conclude(job, news, is_overdue=True), news.state))
        finally:
            connection.close()

    threads = [
        threading.Thread(target=race, args=((COMPLETED, FAILED, SILENCE)[n % 3],))
        for n in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)

    assert len(won) == 20
    winners = [state for has_won, state in won if has_won]
    assert len(winners) == 1
    state, reservation, charges, records = ends(job)
    assert state == {"completed": "completed", "failed": "failed", "unknown": "expired"}[winners[0]]
    assert (reservation, charges) == (("settled", 1) if charges else ("released", 0))
    assert charges == (state == "completed")
    assert records == 1
    assert customer.balances == (1000 - PRICE * charges, 0)


@pytest.mark.django_db(transaction=True)
def test_an_end_whose_settlement_fails_is_undone(monkeypatch):
    customer = make_customer(1000)
    job = make_job(customer)

    def fail(_settlement: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(postings, "settle", fail)
        with pytest.raises(RuntimeError):
            poll.conclude(job, COMPLETED, is_overdue=False)

    assert ends(job) == ("processing", "open", 0, 0)
    assert poll.conclude(job, COMPLETED, is_overdue=False)


@pytest.mark.django_db
def test_a_claimed_job_is_not_due_for_others_and_by_and_by_less_often(settings):
    settings.VIDEO_POLL_SECONDS = 3
    customer = make_customer(1000)
    new = make_job(customer)
    old = make_job(customer, created_at=timezone.now() - timedelta(seconds=60))
    ancient = make_job(customer, created_at=timezone.now() - timedelta(hours=1))
    overdue = make_job(customer, expires_at=timezone.now() - timedelta(seconds=1))
    make_job(customer, next_poll_at=timezone.now() + timedelta(minutes=1))

    claimed = poll._claim(100)

    assert claimed == {new.pk: False, old.pk: False, ancient.pk: False, overdue.pk: True}
    assert poll._claim(100) == {}
    for job, seconds in ((new, 3), (old, 6), (ancient, 15)):
        job.refresh_from_db()
        assert abs((job.next_poll_at - timezone.now()).total_seconds() - seconds) < 1


@pytest.mark.django_db(transaction=True)
def test_a_job_that_another_is_claiming_is_passed_over():
    job = make_job(make_customer(1000))
    taken: list[dict[object, bool]] = []

    def claim() -> None:
        taken.append(poll._claim(100))
        connection.close()

    with transaction.atomic():
        VideoJob.objects.select_for_update().get(pk=job.pk)
        thread = threading.Thread(target=claim)
        thread.start()
        thread.join(5)
        assert not thread.is_alive()
    assert job.pk not in taken[0]


NO_VIDEO = JobReport("failed", error=FAILED_TEXT)
ELSEWHERE = JobReport("completed", url="https://v.invalid/2")


@pytest.mark.parametrize(
    ("body", "news"),
    [
        (b'{"status": "processing"}', JobReport("processing")),
        (b'{"task_status": "PROCESSING"}', JobReport("processing")),
        (b'{"status": "queued"}', JobReport("processing")),
        (b'{"status":"completed","video_url":"https://videos.invalid/1.mp4"}', COMPLETED),
        (b'{"task_status":"SUCCESS","video_result":[{"url":"https://v.invalid/2"}]}', ELSEWHERE),
        (b'{"status":"succeeded","data":[{"url":"https://v.invalid/2"}]}', ELSEWHERE),
        (b'{"status":"completed"}', NO_VIDEO),
        (b'{"status":"completed","video_url":"javascript:alert(1)"}', NO_VIDEO),
        (b'{"status":"fail"}', NO_VIDEO),
        (b'{"status":"failed","error":{"message":"No birds."}}', FAILED),
        (b'{"status":"failed","error":"No birds."}', FAILED),
        (b'{"id": "1"}', SILENCE),
        (b"[]", SILENCE),
        (b"<html>", SILENCE),
        (b"\xff", SILENCE),
        (b"", SILENCE),
    ],
)
def test_what_upstreams_say_is_read_in_their_dialects(body: bytes, news: JobReport):
    assert read_report(body) == news


@pytest.fixture
def job(db: None) -> VideoJob:
    return make_job(make_customer(1000))


def said(job: VideoJob, answer: Callable[[httpx.Request], httpx.Response]) -> JobReport:
    with JobUpstream(httpx.MockTransport(answer)) as upstream:
        return upstream.ask(job)


def test_an_upstream_is_asked_by_its_own_id_and_key(job, monkeypatch):
    monkeypatch.setenv("UPSTREAM_FILMS", "secret")
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return response(200, b'{"status":"completed","video_url":"%s"}' % COMPLETED.url.encode())

    assert said(job, answer) == COMPLETED
    assert str(seen[0].url) == "https://films.invalid/v1/videos/their%2F1"
    assert seen[0].headers["authorization"] == "Bearer secret"
    monkeypatch.setenv("UPSTREAM_FILMS_2", "another")
    another = job.upstream.keys.create(name="another", api_key_env="UPSTREAM_FILMS_2")
    VideoJob.objects.update(upstream_key=another)
    another.is_enabled = False
    another.save()
    assert said(VideoJob.objects.get(), answer) == COMPLETED
    assert seen[-1].headers["authorization"] == "Bearer another", "the key of the order"
    another.delete()
    assert said(VideoJob.objects.get(), answer) == COMPLETED
    assert seen[-1].headers["authorization"] == "Bearer secret"


def response(status: int, body: bytes = b"", **options: Any) -> httpx.Response:
    return httpx.Response(status, stream=httpx.ByteStream(body), **options)


class Endless(httpx.SyncByteStream):
    """A body without an end."""

    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield b" " * 65_536


def timed_out(request: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("too late")


@pytest.mark.parametrize(
    "answer",
    [
        timed_out,
        lambda _: response(302, headers={"location": "http://169.254.169.254/"}),
        lambda _: response(404, b'{"status": "failed"}'),
        lambda _: response(500),
        lambda _: response(401),
        lambda _: httpx.Response(200, stream=Endless()),
        lambda _: response(200, b"garbage"),
    ],
)
def test_whatever_an_upstream_answers_besides_is_no_news(job, answer):
    assert said(job, answer) == SILENCE


def test_an_upstream_that_staff_deleted_says_nothing(job):
    job.upstream.delete()
    job.refresh_from_db()
    assert said(job, timed_out) == SILENCE
