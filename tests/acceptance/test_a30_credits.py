"""Points 30 and 31: one balance for everything, reserved before the upstream is asked."""

import threading
from typing import Any

import httpx
import pytest

from tests.acceptance.services import EMAIL, HELLO, Service
from tests.support.waiting import eventually


def in_background(default: Service, key: str, **fields: Any) -> tuple[threading.Thread, list[Any]]:
    """Start a chat; return its thread and where its answer will be."""
    answers: list[httpx.Response] = []

    def call() -> None:
        with default.client(key) as client:
            body = {"model": "glm-5.2", "messages": HELLO, **fields}
            answers.append(client.post("/v1/chat/completions", json=body))

    thread = threading.Thread(target=call)
    thread.start()
    return thread, answers


def test_a30_all_keys_of_a_team_and_what_it_is_shown_share_one_balance(
    default: Service, manager: httpx.Client
) -> None:
    before, _ = default.balance()
    second = manager.post("/api/manage/v1/keys", json={"name": "second"}).json()["key"]
    costs = []
    for key, mount in ((default.key, "/v1"), (second, "/api/v1"), (second, "")):
        with default.client(key) as client:
            body = {"model": "glm-5.2", "messages": HELLO}
            answer = client.post(f"{mount}/chat/completions", json=body)
        costs.append(answer.headers["x-request-cost"])
    assert costs == ["0.000041400"] * 3  # 2 at 0.70 and 16 at 2.50
    assert default.balance() == (before - 124_200, 0)
    shown = manager.get("/api/manage/v1/team").json()["balance"]
    assert shown["posted_nanos"] == shown["available_nanos"] == before - 124_200
    accounts = default.stack.sql(
        "SELECT count(*) FROM billing_creditaccount JOIN accounts_membership USING (team_id)"
        " JOIN accounts_user u ON u.id = user_id WHERE u.email = %s",
        EMAIL,
    )
    assert accounts == [(1,)]


def test_a31_credits_are_held_before_the_upstream_is_asked_and_reconciled_after(
    default: Service,
) -> None:
    before, _ = default.balance()
    script = "first_ms=1500&tokens=10"
    thread, answers = in_background(default, default.key, max_tokens=1000, simulate=script)
    posted, held = eventually(lambda: (found := default.balance())[1] and found)
    thread.join()
    # At least a thousand tokens out at 2.50, and the two of the prompt at 0.70.
    assert posted == before
    assert held >= 1000 * 2_500 + 2 * 700
    (answer,) = answers
    # Two in and ten out: what was not used is free again.
    assert answer.headers["x-request-cost"] == "0.000026400"
    assert default.balance() == (before - 26_400, 0)
    reserved_at, state = default.stack.sql(
        "SELECT extract(epoch FROM created_at)::float8, state FROM billing_reservation"
        " WHERE id = %s::uuid",
        answer.headers["x-request-id"],
    )[0]
    (call,) = default.stack.journal(request_id=answer.headers["x-request-id"])
    assert reserved_at < call["started_at"]
    assert state == "settled"


@pytest.mark.parametrize("script", ["first_ms=800&status=500", "first_ms=800&cut_after=5"])
def test_a31_a_failed_request_is_refunded(default: Service, script: str) -> None:
    before, _ = default.balance()
    thread, answers = in_background(default, default.key, max_tokens=1000, simulate=script)
    _, held = eventually(lambda: (found := default.balance())[1] and found)
    thread.join()
    assert held > 0
    assert answers[0].status_code == 502
    assert default.balance() == (before, 0)
    assert default.usage(answers[0], "charged_nanos", "outcome") == (0, "upstream_error")


def test_a31_a_request_that_the_credits_do_not_cover_asks_no_upstream(default, poor_key) -> None:
    with default.client(poor_key) as client:
        body = {"model": "glm-5.2", "messages": HELLO, "max_tokens": 1000}
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 402
    assert default.stack.journal(request_id=answer.headers["x-request-id"]) == []
    assert default.balance("poor@example.com") == (10_000, 0)


def test_a31_two_requests_at_once_cannot_spend_the_same_credit(default: Service) -> None:
    # Each may cost 1000 at 2.50 and its prompt: credits for one of them, not for two.
    key = default.stack.customer("one-of-two@example.com", "0.004")
    fields = {"max_tokens": 1000, "simulate": "first_ms=700&tokens=1"}
    calls = [in_background(default, key, **fields) for _ in range(2)]
    for thread, _ in calls:
        thread.join()
    assert sorted(answers[0].status_code for _, answers in calls) == [200, 402]
