"""The test of an upstream: what it says of models, calls, usage and time, and of no secret."""

import json
from typing import Any

import httpx
import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from api import upstream_check
from api.models import Model, Route, Upstream, UpstreamKey
from api.upstream_check import check_upstream
from api.upstream_keys import store_secret
from billing.models import Product
from tests.cast import signed_in

pytestmark = pytest.mark.django_db

KEY = "sk-secret-0123456789abcdef"
BASE = "https://maker.example/v1"
USAGE = {"prompt_tokens": 8, "completion_tokens": 1, "total_tokens": 9}
LIST = {"object": "list", "data": [{"id": "alpha"}, {"id": "beta"}, {"name": "odd"}, 5]}


@pytest.fixture
def upstream() -> Upstream:
    upstream = Upstream.objects.create(name="maker", base_url=BASE)
    add_key(upstream, KEY)
    return upstream


def add_key(upstream: Upstream, secret: str, **columns: Any) -> UpstreamKey:
    key = UpstreamKey(upstream=upstream, **columns)
    store_secret(key, secret, timezone.now())
    key.save()
    return key


class Answers:
    """A transport whose answers are given by path, and that keeps what was asked."""

    def __init__(self, calls: Any = None, models: Any = LIST, status: int = 200) -> None:
        self.asked: list[tuple[str, Any]] = []
        self.keys: set[str | None] = set()
        self._calls, self._models, self._status = calls, models, status
        self.transport = httpx.MockTransport(self._answer)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content) if request.content else None
        self.asked.append((request.url.path, body))
        self.keys.add(request.headers.get("authorization") or request.headers.get("x-api-key"))
        if request.method == "GET":
            return httpx.Response(200, json=self._models)
        if callable(self._calls):
            return self._calls(body)
        return httpx.Response(self._status, json=self._calls)


def good(body: dict[str, Any]) -> httpx.Response:
    if not body["stream"]:
        return httpx.Response(200, json={"choices": [], "usage": USAGE})
    events = [{"choices": []}, {"choices": [], "usage": USAGE}]
    text = "".join(f"data: {json.dumps(event)}\n\n" for event in events) + "data: [DONE]\n\n"
    return httpx.Response(200, text=": hello\n\n" + text)


def test_a_good_upstream_lists_its_models_and_reports_usage_both_ways(upstream: Upstream) -> None:
    answers = Answers(good)
    report = check_upstream(upstream, transport=answers.transport)
    assert report.is_good
    assert report.models == ["alpha", "beta"]
    listed, plain, streamed = report.checks
    assert listed.detail == "2 models"
    assert (plain.usage, streamed.usage) == (USAGE, USAGE)
    assert streamed.detail == "2 events"
    assert all(check.total_ms is not None for check in report.checks)
    assert (plain.first_ms, streamed.first_ms is not None) == (None, True)
    bodies = [body for _, body in answers.asked if body]
    assert [(body["model"], body["max_tokens"], body["stream"]) for body in bodies] == [
        ("alpha", 1, False),
        ("alpha", 1, True),
    ]
    assert bodies[1]["stream_options"] == {"include_usage": True}
    assert answers.keys == {f"Bearer {KEY}"}


def test_the_first_route_says_what_to_call_and_how(upstream: Upstream) -> None:
    model = Model.objects.create(name="m", product=Product.objects.create(sku="m"))
    Route.objects.create(
        model=model,
        upstream=upstream,
        upstream_model="gamma",
        max_tokens_field="max_completion_tokens",
        takes_stream_options=False,
    )
    answers = Answers(good)
    check_upstream(upstream, transport=answers.transport)
    plain, streamed = [body for _, body in answers.asked if body]
    assert (plain["model"], plain["max_completion_tokens"]) == ("gamma", 1)
    assert "max_tokens" not in plain
    assert "stream_options" not in streamed
    check_upstream(upstream, "beta", transport=answers.transport)
    assert answers.asked[-1][1]["model"] == "beta"


@pytest.mark.parametrize(
    ("dialect", "path", "usage"),
    [
        ("anthropic_messages", "/v1/messages", {"input_tokens": 8, "output_tokens": 1}),
        ("openai_responses", "/v1/responses", {"input_tokens": 8, "output_tokens": 16}),
        ("openai_completions", "/v1/completions", USAGE),
    ],
)
def test_each_dialect_is_asked_in_its_own_words(
    upstream: Upstream, dialect: str, path: str, usage: dict[str, int]
) -> None:
    def answer(body: dict[str, Any]) -> httpx.Response:
        if not body["stream"]:
            return httpx.Response(200, json={"usage": usage})
        events = [{"message": {"usage": {"input_tokens": 8}}}, {"response": {"usage": usage}}]
        return httpx.Response(200, text="".join(f"data: {json.dumps(e)}\r\n\r\n" for e in events))

    upstream.dialect = dialect
    answers = Answers(answer)
    report = check_upstream(upstream, transport=answers.transport)
    assert report.is_good, report
    assert {asked for asked, body in answers.asked if body} == {path}
    assert report.checks[2].usage == {"input_tokens": 8} | usage


@pytest.mark.parametrize(
    ("answer", "detail"),
    [
        ({"choices": []}, "without usage"),
        ({"error": {"message": "no such model"}}, "no such model"),
        ("text", "without usage"),
    ],
)
def test_an_answer_that_would_be_no_good_is_not_called_good(
    upstream: Upstream, answer: Any, detail: str
) -> None:
    report = check_upstream(upstream, transport=Answers(answer).transport)
    assert not report.is_good
    assert detail in report.checks[1].detail
    assert not report.checks[2].is_good


def test_a_refusal_is_told_without_its_secrets(upstream: Upstream) -> None:
    message = f"Incorrect API key {KEY} at https://internal.maker/x: org-1234567"
    answers = Answers({"error": {"message": message}}, status=401)
    report = check_upstream(upstream, transport=answers.transport)
    assert report.checks[1].detail.startswith("HTTP 401 Incorrect API key")
    told = str(report)
    for secret in (KEY, "secret", "internal", "1234567"):
        assert secret not in told


def test_an_upstream_that_cannot_be_reached_or_listed_is_told(upstream: Upstream) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    report = check_upstream(upstream, transport=httpx.MockTransport(refuse))
    assert [check.is_good for check in report.checks] == [False, False]
    assert "ConnectError" in report.checks[0].detail
    assert "Name a model" in report.checks[1].detail


def test_a_stream_without_end_is_cut(upstream: Upstream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstream_check, "MAX_BYTES", 1_000)

    def endless(body: dict[str, Any]) -> httpx.Response:
        return httpx.Response(200, text="data: {}\n\n" * 1_000)

    report = check_upstream(upstream, transport=Answers(endless).transport)
    assert "too long" in report.checks[2].detail


def test_no_call_is_made_to_a_private_address_or_without_its_key(
    upstream: Upstream, settings: Any
) -> None:
    settings.UPSTREAM_HOSTS = ["*"]
    answers = Answers(good)
    upstream.base_url = "http://169.254.169.254/v1"
    report = check_upstream(upstream, transport=answers.transport)
    assert not report.is_good
    upstream.base_url = "https://other.example/v1"  # the key is for another address
    report = check_upstream(upstream, transport=answers.transport)
    assert "can't be decrypted" in report.checks[0].detail
    assert answers.asked == []


# The page.


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    answers = Answers(good)
    monkeypatch.setattr(httpx, "HTTPTransport", lambda **_: _WithPool(answers.transport))
    return answers


class _WithPool(httpx.BaseTransport):
    def __init__(self, inner: httpx.MockTransport) -> None:
        self._inner = inner
        self._pool = type("Pool", (), {})()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        return self._inner.handle_request(request)


def test_staff_run_the_test_from_the_upstreams_page(
    staff: Client, upstream: Upstream, answers: Answers
) -> None:
    url = reverse("admin:api_upstream_test", args=[upstream.pk])
    assert (
        url in staff.get(reverse("admin:api_upstream_change", args=[upstream.pk])).content.decode()
    )
    assert staff.get(url).status_code == 200
    assert answers.asked == []
    page = staff.post(url, {"model": ""}).content.decode()
    assert "Good: 2 models" in page
    assert "completion_tokens" in page
    assert KEY not in page
    assert LogEntry.objects.get().change_message == "Tested: good."


def test_only_who_may_change_upstreams_may_test_them(
    upstream: Upstream, alice: User, answers: Answers
) -> None:
    url = reverse("admin:api_upstream_test", args=[upstream.pk])
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename="view_upstream"))
    assert signed_in(clerk).post(url).status_code == 403
    assert signed_in(alice).post(url).status_code == 302
    assert answers.asked == []


def test_each_key_that_is_enabled_is_tested(upstream: Upstream) -> None:
    add_key(upstream, "sk-second-0123456789", name="second")
    add_key(upstream, "sk-third-0123456789", name="third", is_enabled=False)
    answers = Answers(good)
    report = check_upstream(upstream, transport=answers.transport)
    assert answers.keys == {f"Bearer {KEY}", "Bearer sk-second-0123456789"}
    names = [check.name for check in report.checks]
    assert names[0] == "Models list, key default"
    assert names[-1] == "Streamed call of alpha, key second"
    assert len(names) == 6
