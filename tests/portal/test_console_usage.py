"""Usage that upstreams' APIs report: each kind's shape, the sums beside ours, and the key."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from django.test import Client, override_settings
from django.utils import timezone

from accounts import encryption
from api import tasks, usage_reports
from api.models import Model, ReportedUsage, Route, Upstream, UsageSource
from api.reencryption import reencrypt
from billing.models import MarginDay, Product
from portal.console.attention import concerns_for
from tests.billing.ledger_calls import make_customer
from tests.portal.test_console_statements import of_role, text_of

pytestmark = pytest.mark.django_db

KEY = "sk-admin-0123456789abcdef"
BASE = "https://maker.example/v1"
DOLLAR = 10**9
Answer = Callable[[httpx.Request], httpx.Response]


@pytest.fixture
def source() -> UsageSource:
    """A source of an upstream where our `alpha` is `alpha-1`."""
    upstream = Upstream.objects.create(name="maker", base_url=BASE)
    model = Model.objects.create(name="alpha", product=Product.objects.create(sku="alpha"))
    Route.objects.create(model=model, upstream=upstream, upstream_model="alpha-1")
    source = UsageSource(upstream=upstream, kind="openai", base_url=BASE)
    usage_reports.store_key(source, KEY, timezone.now())
    source.save()
    return source


def yesterday() -> date:
    return timezone.now().astimezone(UTC).date() - timedelta(days=1)


def at(day: date) -> int:
    return int(datetime.combine(day, datetime.min.time(), UTC).timestamp())


def add_ours(**sums: int) -> None:
    """Record requests of a customer's for `alpha`, yesterday."""
    account = make_customer().account
    MarginDay.objects.create(
        day=yesterday(), account=account, model="alpha", upstream="maker", **sums
    )


def openai(request: httpx.Request) -> httpx.Response:
    """Answer two pages of usage and one of costs, as OpenAI's reference describes them."""
    assert request.headers["authorization"] == f"Bearer {KEY}"
    query = request.url.params
    assert int(query["start_time"]) < at(yesterday()) < int(query["end_time"])
    usage = {"model": "alpha-1-2026-05-01", "num_model_requests": 2, "input_tokens": 60}
    pages: dict[tuple[str, str], tuple[list[Any], str | None]] = {
        ("completions", ""): ([{**usage, "output_tokens": 10}], "page_2"),
        ("completions", "page_2"): ([{**usage, "model": "other", "input_tokens": 7}], None),
        ("costs", ""): (
            [
                {"amount": {"value": 0.1, "currency": "usd"}, "line_item": "alpha-1, input"},
                {"amount": {"value": "0.02", "currency": "USD"}, "line_item": "web search"},
            ],
            None,
        ),
    }
    results, following = pages[request.url.path.rsplit("/", 1)[1], query.get("page", "")]
    bucket = {"object": "bucket", "start_time": at(yesterday()), "results": results}
    return httpx.Response(200, json={"object": "page", "data": [bucket], "next_page": following})


def openrouter(request: httpx.Request) -> httpx.Response:
    """Answer two endpoints' rows of one model, and one of a day that is too old."""
    assert request.url.path == "/v1/activity"
    row = {"model": "alpha-1", "requests": 1, "prompt_tokens": 30, "completion_tokens": 5}
    day = yesterday().isoformat()
    rows = [{**row, "date": day, "usage": 0.05}, {**row, "date": f"{day} 00:00:00", "usage": 0.05}]
    return httpx.Response(200, json={"data": [*rows, {**row, "date": "2020-01-01", "usage": 1}]})


@pytest.mark.parametrize(("kind", "answer"), [("openai", openai), ("openrouter", openrouter)])
def test_each_kinds_sums_are_beside_ours(source: UsageSource, kind: str, answer: Answer) -> None:
    source.kind = kind
    usage_reports.store_key(source, KEY, timezone.now())
    source.save()
    add_ours(requests=2, input_tokens=60, output_tokens=11, upstream_cost_nanos=DOLLAR // 10)
    add_ours(requests=1, input_tokens=1, output_tokens=1, upstream_cost_nanos=1)
    for _ in range(2):  # a repeat replaces what was read
        assert usage_reports.read_source(source, httpx.MockTransport(answer))
    compared = {each.model: each for each in usage_reports.compare(source)}
    alpha = compared["alpha-1"]
    assert alpha.day == yesterday()
    assert vars(alpha.theirs) == {
        "requests": 2,
        "input_tokens": 60,
        "output_tokens": 10,
        "cost_nanos": DOLLAR // 10,
    }
    assert vars(alpha.ours) == {
        "requests": 3,
        "input_tokens": 61,
        "output_tokens": 12,
        "cost_nanos": DOLLAR // 10 + 1,
    }
    others = {name: each.theirs.cost_nanos for name, each in compared.items() if name != "alpha-1"}
    assert others == ({"other": 0, "web search": DOLLAR // 50} if kind == "openai" else {})


def changed(**fields: Any) -> Answer:
    """Answer costs as usual, and one result of usage with other fields."""

    def answer(request: httpx.Request) -> httpx.Response:
        bucket = {"start_time": at(yesterday()), "results": [fields]}
        return httpx.Response(200, json={"data": [bucket]})

    return answer


def sums(request: httpx.Request) -> httpx.Response:
    """Answer figures that are possible, but whose sum no column holds."""
    bucket = {"start_time": at(yesterday()), "results": [{"input_tokens": 10**15}] * 10_000}
    return httpx.Response(200, json={"data": [bucket]})


def unreachable(request: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError(f"no way with {KEY}")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (lambda _: httpx.Response(401, json={"error": KEY}), "HTTP 401"),
        (lambda _: httpx.Response(302, headers={"location": "https://else.example"}), "HTTP 302"),
        (lambda _: httpx.Response(200, text="<html>"), "not what the API describes"),
        (lambda _: httpx.Response(200, json={"data": 5}), "not what the API describes"),
        (lambda _: httpx.Response(200, json={"data": [], "next_page": "p"}), "too many pages"),
        (changed(input_tokens=-1), "-1 is not a count"),
        (changed(amount={"value": 1, "currency": "eur"}), "Costs are in eur"),
        (changed(amount={"value": 1e30}), "A cost is too large"),
        (changed(amount={"value": "1e999999"}), "A cost is too large"),
        (sums, "A sum is too large"),
        (unreachable, "ConnectError"),
    ],
    ids=[
        *("key", "redirect", "html", "shape", "pages", "negative", "currency"),
        *("large", "overflow", "sum", "network"),
    ],
)
def test_what_cannot_be_read_changes_no_figure(
    source: UsageSource, answer: Answer, why: str
) -> None:
    assert usage_reports.read_source(source, httpx.MockTransport(openai))
    before = list(ReportedUsage.objects.order_by("pk").values())
    assert not usage_reports.read_source(source, httpx.MockTransport(answer))
    source.refresh_from_db()
    assert why in source.error
    assert KEY not in source.error
    assert list(ReportedUsage.objects.order_by("pk").values()) == before
    _, auditor = of_role("Auditor")
    url = f"/admin/reconciliation/usage/{source.pk}"
    assert ("maker's usage could not be read", url) in {
        (concern.text, concern.url) for concern in concerns_for(auditor)
    }


def test_the_key_is_encrypted_for_its_address_and_encrypted_again(source: UsageSource) -> None:
    assert KEY not in source.encrypted_key
    source.base_url = "https://else.example/v1"
    assert not usage_reports.read_source(source, httpx.MockTransport(openai))
    assert "can't be decrypted" in source.error
    source.base_url = BASE
    with override_settings(ENCRYPTION_KEYS={**encryption._keys(), 9: b"k" * 32}):
        assert reencrypt() == 1
        source.refresh_from_db()
        assert source.encrypted_key.startswith("enc:9:")
        assert usage_reports.read_key(source) == KEY


def test_staff_enter_the_key_once_and_again_for_another_address(
    staff: Client, source: UsageSource
) -> None:
    url = f"/admin/api/usagesource/{source.pk}/change/"
    form = {"upstream": source.upstream_id, "kind": "openai", "base_url": BASE, "is_enabled": "on"}
    page = text_of(staff.get(url))
    assert KEY not in page
    assert "…cdef, stored" in page
    assert staff.post(url, form).status_code == 302
    source.refresh_from_db()
    assert usage_reports.read_key(source) == KEY
    moved = {**form, "base_url": "https://else.example/v1"}
    assert "Enter the key for this address." in text_of(staff.post(url, moved))
    assert staff.post(url, {**moved, "new_key": "sk-other"}).status_code == 302
    source.refresh_from_db()
    assert usage_reports.read_key(source) == "sk-other"


def test_the_console_shows_the_drift_and_reads_again(
    source: UsageSource, monkeypatch: pytest.MonkeyPatch, django_capture_on_commit_callbacks: Any
) -> None:
    read: list[int] = []
    monkeypatch.setattr("portal.console.statements.read_usage_task.delay", read.append)
    browser, _ = of_role("Finance")
    assert "Waiting" in text_of(browser.get("/admin/reconciliation"))
    url = f"/admin/reconciliation/usage/{source.pk}"
    assert "Nothing was read yet." in text_of(browser.get(url))
    with django_capture_on_commit_callbacks(execute=True):
        assert browser.post(f"{url}/read").status_code == 302
    assert read == [source.pk]

    add_ours(requests=2, input_tokens=50, output_tokens=10, upstream_cost_nanos=DOLLAR // 20)
    assert usage_reports.read_source(source, httpx.MockTransport(openai))
    page = text_of(browser.get(url))
    assert "$0.07" in page  # of $0.12, less our $0.05
    assert "web search" in page
    day = yesterday().isoformat()
    assert f'href="{url}?day={day}"' in page
    narrow = text_of(browser.get(url, {"model": "alpha-1"}))
    assert "$0.05" in narrow
    assert "web search" not in narrow
    assert "web search" in text_of(browser.get(url, {"day": day}))
    assert "No usage on either side" in text_of(browser.get(url, {"day": "nonsense"}))

    auditor, _ = of_role("Auditor")
    assert "Read now" not in text_of(auditor.get(url))
    assert auditor.post(f"{url}/read").status_code == 403
    assert browser.get("/admin/reconciliation/usage/99999").status_code == 404


def test_the_task_reads_what_is_enabled(
    source: UsageSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage_reports, "guarded_transport", lambda: httpx.MockTransport(openai))
    assert tasks.read_usage() == tasks.read_usage(source.pk) == 1
    UsageSource.objects.update(is_enabled=False)
    assert tasks.read_usage() == tasks.read_usage(99999) == 0
    assert source.reported.count() == 4
