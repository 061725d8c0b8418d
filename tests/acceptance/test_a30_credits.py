"""Points 30 and 31: one balance for everything, reserved before the upstream is asked."""

import json
import threading
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.acceptance.services import HELLO, Service
from tests.stack import eventually

START = 10_000_000_000


@pytest.fixture(scope="module")
def open_customer(default: Service) -> Callable[[str], tuple[str, str]]:
    """Makes a customer with ten dollars: e-mail and key."""

    def make(name: str) -> tuple[str, str]:
        email = f"{name}@example.com"
        return email, default.stack.customer(email, "10")

    return make


def in_background(default: Service, key: str, **fields: Any) -> tuple[threading.Thread, list[Any]]:
    """Starts a chat; returns its thread and where its answer will be."""
    answers: list[httpx.Response] = []

    def call() -> None:
        with default.client(key) as client:
            body = {"model": "glm-5.2", "messages": HELLO, **fields}
            answers.append(client.post("/v1/chat/completions", json=body))

    thread = threading.Thread(target=call)
    thread.start()
    return thread, answers


def test_a30_all_keys_of_a_team_and_its_balance_page_share_one_balance(
    default: Service, open_customer
) -> None:
    email, first = open_customer("one-balance")
    made = default.stack.manage("create_key", email, "--scope", "management", "--json")
    with default.client(json.loads(made)["api_key"]) as manager:
        second = manager.post("/api/manage/v1/keys", json={"name": "second"}).json()["key"]
        costs = []
        for key, mount in ((first, "/v1"), (second, "/api/v1"), (second, "")):
            with default.client(key) as client:
                answer = client.post(
                    f"{mount}/chat/completions", json={"model": "glm-5.2", "messages": HELLO}
                )
            costs.append(int(answer.headers["x-request-cost"].replace(".", "")))
        assert costs == [41_400] * 3  # 2 at 0.70 and 16 at 2.50
        balance = manager.get("/api/manage/v1/team").json()["balance"]
    assert balance["posted"] == "9.999875800"
    assert default.balance(email) == (START - 3 * 41_400, 0)
    accounts = default.stack.sql(
        "SELECT count(*) FROM billing_creditaccount JOIN accounts_membership USING (team_id)"
        " JOIN accounts_user u ON u.id = user_id WHERE u.email = %s",
        email,
    )
    assert accounts == [(1,)]


def test_a31_credits_are_held_before_the_upstream_is_asked_and_reconciled_after(
    default: Service, open_customer
) -> None:
    email, key = open_customer("reserved")
    script = "first_ms=1500&tokens=10"
    thread, answers = in_background(default, key, max_tokens=1000, simulate=script)
    posted, held = eventually(lambda: (found := default.balance(email))[1] and found)
    thread.join()
    # At least a thousand tokens out at 2.50, and the two of the prompt at 0.70.
    assert posted == START
    assert held >= 1000 * 2_500 + 2 * 700
    (answer,) = answers
    # Two in and ten out: what was not used is free again.
    assert answer.headers["x-request-cost"] == "0.000026400"
    assert default.balance(email) == (START - 26_400, 0)
    reserved_at, state = default.stack.sql(
        "SELECT extract(epoch FROM created_at)::float8, state FROM billing_reservation"
        " WHERE id = %s::uuid",
        answer.headers["x-request-id"],
    )[0]
    (call,) = default.stack.journal(request_id=answer.headers["x-request-id"])
    assert reserved_at < call["started_at"]
    assert state == "settled"


@pytest.mark.parametrize(
    ("script", "status"),
    [("first_ms=800&status=500", 502), ("first_ms=800&cut_after=5", 502)],
)
def test_a31_a_failed_request_is_refunded(default, open_customer, script: str, status) -> None:
    email, key = open_customer(f"refunded-{len(script)}")
    thread, answers = in_background(default, key, max_tokens=1000, simulate=script)
    _, held = eventually(lambda: (found := default.balance(email))[1] and found)
    thread.join()
    assert held > 0
    assert answers[0].status_code == status
    assert default.balance(email) == (START, 0)
    assert default.usage(answers[0], "charged_nanos", "outcome") == (0, "upstream_error")


def test_a31_a_request_that_the_credits_do_not_cover_asks_no_upstream(default: Service) -> None:
    key = default.stack.customer("too-little@example.com", "0.000001")
    with default.client(key) as client:
        body = {"model": "glm-5.2", "messages": HELLO, "max_tokens": 1000}
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 402
    assert default.stack.journal(request_id=answer.headers["x-request-id"]) == []
    assert default.balance("too-little@example.com") == (1_000, 0)


def test_a31_two_requests_at_once_cannot_spend_the_same_credit(default: Service) -> None:
    # Each may cost 1000 at 2.50 and its prompt: credits for one of them, not for two.
    key = default.stack.customer("one-of-two@example.com", "0.004")
    fields = {"max_tokens": 1000, "simulate": "first_ms=700&tokens=1"}
    calls = [in_background(default, key, **fields) for _ in range(2)]
    for thread, _ in calls:
        thread.join()
    assert sorted(answers[0].status_code for _, answers in calls) == [200, 402]
