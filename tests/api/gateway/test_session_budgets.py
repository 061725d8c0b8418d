"""Budgets that come with a request, and what a client reads of one that it exceeded."""

import pytest

from billing.ledger.refusal_details import TightestBudget
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, body, in_loop

GOOD = answer(completion())
SESSION = {"x-session-id": "run 7"}


@in_loop
async def test_the_ledger_gets_the_session_its_budget_and_the_end_user() -> None:
    async with World(GOOD) as world:
        headers = {**SESSION, "x-session-budget": " 0.25 "}
        assert (await world.post(body(user="ann"), headers=headers)).status == 200
        assert (await world.post(body(), headers={})).status == 200
    first, second = world.gate.admissions
    assert (first.session_id, first.session_budget_nanos) == ("run 7", 250_000_000)
    assert first.end_user == "ann"
    assert (second.session_id, second.session_budget_nanos, second.end_user) == ("", None, "")


@pytest.mark.parametrize("amount", ["0", "-1", "$5", "1e3", "NaN", "0.0000000001", "5,00"])
@in_loop
async def test_a_malformed_budget_is_refused_and_says_what_to_send(amount: str) -> None:
    async with World(GOOD) as world:
        refused = await world.post(body(), headers={**SESSION, "x-session-budget": amount})
    assert refused.status == 400
    error = refused.json["error"]
    assert (error["code"], error["param"]) == ("invalid_request_error", "X-Session-Budget")
    assert "such as 0.50" in error["message"]
    assert world.gate.admissions == []


@pytest.mark.parametrize("headers", [{}, {"x-session-id": "\t"}, {"x-session-id": "a" * 129}])
@in_loop
async def test_a_budget_without_a_session_is_refused(headers: dict[str, str]) -> None:
    async with World(GOOD) as world:
        refused = await world.post(body(), headers={**headers, "x-session-budget": "1"})
    assert (refused.status, refused.json["error"]["param"]) == (400, "X-Session-Id")
    assert world.gate.admissions == []


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (
            TightestBudget("session", "total", 5_000_000_000, 20_000_000, None),
            "Budget exceeded (session): $0.02 of $5 left. Raise the budget.",
        ),
        (
            TightestBudget("team", "day", 100_000_000_000, 0, 1_796_083_200),
            (
                "Budget exceeded (team): $0 of $100 left until 2026-12-01 00:00 UTC. "
                "Wait, or raise the budget."
            ),
        ),
    ],
    ids=["in all", "by day"],
)
@in_loop
async def test_a_refusal_names_the_budget_what_is_left_and_when_it_resets(
    budget: TightestBudget, said: str
) -> None:
    async with World(GOOD) as world:
        world.gate.code, world.gate.budget = "budget_exceeded", budget
        refused = await world.post(body())
    error = refused.json["error"]
    assert (refused.status, error["code"], error["message"]) == (402, "budget_exceeded", said)
