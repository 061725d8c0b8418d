"""Point 38: what is not the client's fault: ours, the upstream's, or something that is away.

Nothing of it is charged, and whoever may try again is told when.
"""

import contextlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.acceptance.services import HELLO, Service
from tests.acceptance.test_a37_client_errors import CHAT, EVERY_MOUNT, check
from tests.support.waiting import eventually

PATH = "/v1/chat/completions"
# A model that these tests may break, as no other test calls it.
MODEL = "CLAUDE_FABLE_5"
OF_MODEL = "FROM api_model m WHERE m.id = model_id AND m.name = %s"


@contextlib.contextmanager
def changed(service: Service, there: str, back: str, *values: Any) -> Iterator[None]:
    """Change rows as staff would in the admin, and put them back."""
    service.stack.sql(there, *values)
    try:
        yield
    finally:
        service.stack.sql(back, *values)


def call(service: Service, path: str = PATH, **fields: Any) -> httpx.Response:
    """Make a call and holds that a failure is free and leave nothing held."""
    before, _ = service.balance()
    with service.client() as client:
        answer = client.post(path, json={"model": MODEL, "messages": HELLO, **fields})
    if answer.status_code >= 500:
        assert service.balance() == (before, 0)
    return answer


def test_a38_500_is_ours_and_says_nothing_of_our_insides(default: Service) -> None:
    # A row that the admin refuses, but that somebody wrote past it: no token has zero bytes.
    broken = "UPDATE api_model SET bytes_per_token = {} WHERE name = %s"
    with changed(default, broken.format(0), broken.format(4), MODEL):
        answer = call(default)
        check(answer, 500, "internal_error", kind="server_error")
        assert "ivision" not in answer.text
    assert call(default).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a38_502_an_upstream_without_an_address_is_refunded(default: Service, stream: bool) -> None:
    (url,) = default.stack.sql("SELECT base_url FROM api_upstream")[0]
    address = "UPDATE api_upstream SET base_url = '{}'"
    with changed(default, address.format("http://simulator:port/v1"), address.format(url)):
        answer = call(default, stream=stream)
        check(answer, 502, "upstream_error", kind="server_error")
        assert default.usage(answer, "outcome", "charged_nanos") == ("upstream_error", 0)
    assert call(default).status_code == 200


@pytest.mark.parametrize("mount", EVERY_MOUNT)
@pytest.mark.parametrize("stream", [False, True])
def test_a38_502_the_upstream_answers_with_an_error(default, mount: str, stream: bool) -> None:
    fields = {"model": CHAT["model"], "stream": stream, "simulate": "status=500"}
    answer = call(default, f"{mount}/chat/completions", **fields)
    check(answer, 502, "upstream_error", kind="server_error")


@pytest.mark.parametrize(
    "script", ["drop=1", "body=garbage", "body=html", "status=401", "cut_after=3"]
)
def test_a38_502_the_upstream_answers_badly(default: Service, script: str) -> None:
    answer = call(default, simulate=script)
    check(answer, 502, "upstream_error", kind="server_error")
    assert "401" not in answer.json()["error"]["message"]  # its refusal of our key is not theirs


def test_a38_429_the_upstream_is_busy_and_says_for_how_long(default: Service) -> None:
    answer = call(default, simulate="status=429&retry_after=7")
    check(answer, 429, "rate_limit_exceeded", kind="requests")
    assert answer.headers["retry-after"] == "7"


def test_a38_400_the_upstream_finds_fault_with_the_request(default: Service) -> None:
    answer = call(default, simulate="status=400&message=The+image+is+too+small.")
    check(answer, 400, "invalid_request_error")
    assert answer.json()["error"]["message"] == "The image is too small."


@pytest.mark.parametrize("mount", EVERY_MOUNT)
def test_a38_503_the_service_is_switched_off(default: Service, mount: str) -> None:
    switch = "UPDATE api_service SET is_open = {}"
    with changed(default, switch.format("false"), switch.format("true")):
        answer = call(default, f"{mount}/chat/completions", model=CHAT["model"])
        check(answer, 503, "service_unavailable", kind="server_error")
        assert int(answer.headers["retry-after"]) >= 1
    assert call(default, f"{mount}/chat/completions", model=CHAT["model"]).status_code == 200


def test_a38_503_the_model_is_offline(default: Service) -> None:
    switch = "UPDATE api_route SET is_enabled = {} " + OF_MODEL
    with changed(default, switch.format("false"), switch.format("true"), MODEL):
        answer = call(default)
        check(answer, 503, "model_offline", kind="server_error")
        assert int(answer.headers["retry-after"]) >= 1
    assert call(default).status_code == 200


def test_a38_503_a_model_without_a_price_is_not_free_but_refused(default: Service) -> None:
    stack = default.stack
    stack.sql("INSERT INTO billing_product (sku, created_at) VALUES ('unpriced', now())")
    (product,) = stack.sql("SELECT product_id FROM api_model WHERE name = %s", MODEL)[0]
    unpriced = "SELECT id FROM billing_product WHERE sku = 'unpriced'"
    give = "UPDATE api_model SET product_id = ({}) WHERE name = %s"
    with changed(default, give.format(unpriced), give.format(product), MODEL):
        check(call(default), 503, "model_unpriced", kind="server_error")
    assert call(default).status_code == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a38_504_the_upstream_takes_too_long(default: Service, stream: bool) -> None:
    # A plain answer's first token comes with its last, so that only the total bounds it.
    timer, usual = ("first_token", 120) if stream else ("total", 900)
    limit = f"UPDATE api_upstream SET {timer}_timeout_seconds = {{}}"
    with changed(default, limit.format(0.3), limit.format(usual)):
        answer = call(default, simulate="first_ms=3000", stream=stream)
        check(answer, 504, "upstream_timeout", kind="server_error")
        assert default.usage(answer, "outcome") == "upstream_timeout"


def test_a38_503_the_database_is_away_and_no_upstream_is_asked(default: Service) -> None:
    stack = default.stack
    with default.client() as client:
        stack.postgres.stop("immediate")
        try:
            for mount in ("/v1", "/ide/v1"):
                answer = client.post(f"{mount}/chat/completions", json=CHAT)
                check(answer, 503, "service_unavailable", kind="server_error")
                assert int(answer.headers["retry-after"]) >= 1
                assert stack.journal(request_id=answer.headers["x-request-id"]) == []
            assert client.get("/v1/models").status_code == 503
            assert client.get("/health").status_code == 200
        finally:
            stack.postgres.start()
        eventually(lambda: client.post(PATH, json=CHAT).status_code == 200, seconds=20)


def test_a38_a_restart_of_the_database_is_over_when_it_is_over(default: Service) -> None:
    order = {"model": "cogvideox-3", "prompt": "A bird"}

    def place(_: int) -> int:
        with default.client() as client:  # a connection of its own, hence any of the workers
            return client.post("/v1/videos/generations", json=order).status_code

    with ThreadPoolExecutor(16) as threads:
        assert set(threads.map(place, range(32))) == {200}
    default.stack.postgres.restart("immediate")
    # All connections of all kinds are dead now, and found to be so by the first who need them.
    assert [place(number) for number in range(8)] == [200] * 8
