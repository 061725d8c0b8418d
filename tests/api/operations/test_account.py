"""A key's state, its team's credits, one request's usage, and reports, over the API."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from asgiref.sync import async_to_sync

from accounts.audit import Staff
from accounts.models import ApiKey, User
from api import errors
from api.catalogue import contracts
from api.gateway import look_ups
from api.gateway.look_ups import look_up
from billing.ledger import postings
from billing.models import CatalogueVersion, CreditAccount, UsageRecord
from billing.usage.records import roll_up_recent
from tests.api.contract_terms import make_model, terms
from tests.api.gateway.world import in_loop
from tests.api.served import bearer, served
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey, issue
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db(transaction=True)


def customer_of(account: CreditAccount, key: ApiKey) -> Customer:
    return Customer(account.team, account, key, CatalogueVersion.objects.get(pk=1).version)


@pytest.fixture
def customer(alices_account: CreditAccount, alices_key: IssuedKey) -> Customer:
    """Alice's team with ten dollars and a key."""
    postings.grant(alices_account, 10 * 10**9, reference="ten dollars")
    return customer_of(alices_account, alices_key.key)


def get_all(settings: Any, key: str, *paths: str) -> list[Any]:
    """Return what a key's requests are answered."""

    async def ask() -> list[Any]:
        async with served(settings) as client:
            return [await client.get(path, headers=bearer(key)) for path in paths]

    return async_to_sync(ask)()


def test_a_key_sees_its_own_budget_and_its_teams_credits(
    settings: Any, customer: Customer, alices_key: IssuedKey, alices_team: Any
) -> None:
    customer.change_key(budget_month_nanos=5 * 10**9, budget_total_nanos=100 * 10**9)
    other = customer_of(customer.account, issue(alices_team, None, "other").key)
    serve(customer, hold_nanos=2 * 10**9, output_nanos=1_500_000_000)
    old = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    serve(customer, at=old, hold_nanos=10**9, output_nanos=250_000_000)
    serve(other, hold_nanos=10**9, output_nanos=10**9)
    customer.admitted(amount_nanos=10**9)

    state, balances = get_all(settings, alices_key.plaintext, "/v1/key", "/api/v1/credits")

    assert state.status_code == balances.status_code == 200
    found = state.json()["data"]
    assert found["label"] == f"sk-tg-...{alices_key.key.last_four}"
    assert (found["limit"], found["limit_reset"]) == (5, "monthly")
    assert found["limit_remaining"] == 5 - 1.75 - 1
    assert (found["usage"], found["usage_weekly"]) == (1.75, 1.5)
    assert found["is_free_tier"] is True
    assert found["rate_limit"]["requests"] == int(state.headers["x-ratelimit-limit"])
    assert balances.json() == {
        "data": {"total_credits": 10, "total_usage": 2.75},
        "balance": "7.250000000",
        "total_used": "2.750000000",
    }


def test_a_request_is_shown_to_its_own_team_alone(
    settings: Any, customer: Customer, alices_key: IssuedKey, charlies_team: Any
) -> None:
    record = serve(
        customer,
        hold_nanos=10**9,
        output_nanos=2_850_000,
        input_tokens=500,
        output_tokens=1000,
        cached_tokens=60,
        streamed=True,
        upstream="secret-supplier",
        upstream_cost_nanos=7,
        session_id="run 7",
        end_user="ann",
        finish_reason="stop",
        latency_ms=900,
        first_token_ms=200,
    )
    postings.open_account(charlies_team)
    stranger = issue(charlies_team, None)
    running = customer.admitted().request_id
    ids = [str(record.pk), f"chatcmpl-{record.pk}", f"video-{record.pk.hex}"]

    answers = get_all(
        settings, alices_key.plaintext, *[f"/api/v1/generation?id={each}" for each in ids]
    )
    unknown = get_all(
        settings,
        alices_key.plaintext,
        *[f"/v1/generation?id={each}" for each in (running, "gen-1", "%00")],
    )
    (strangers,) = get_all(settings, stranger.plaintext, f"/v1/generation?id={record.pk}")
    (nameless,) = get_all(settings, alices_key.plaintext, "/v1/generation")

    for answer in answers:
        assert answer.status_code == 200
        found = answer.json()["data"]
        assert (found["id"], found["model"], found["total_cost"]) == (ids[0], "small", 0.00285)
        assert (found["tokens_prompt"], found["native_tokens_cached"]) == (500, 60)
        assert (found["latency"], found["generation_time"]) == (200, 700)
        assert (found["session_id"], found["external_user"]) == ("run 7", "ann")
        assert (found["streamed"], found["finish_reason"]) == (True, "stop")
        assert "secret-supplier" not in answer.text
    for answer in (*unknown, strangers):
        assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")
    assert (nameless.status_code, nameless.json()["error"]["param"]) == (400, "id")


def test_a_key_reports_its_own_usage_alone(
    settings: Any, customer: Customer, alices_key: IssuedKey, alices_team: Any
) -> None:
    other = customer_of(customer.account, issue(alices_team, None, "other").key)
    for session in ("one", "one", "two"):
        serve(customer, output_nanos=3, input_tokens=5, session_id=session, outcome="completed")
    serve(other, output_nanos=100, session_id="one")
    roll_up_recent(1)

    by_session, by_model, page, all_in_one, unknown, odd = get_all(
        settings,
        alices_key.plaintext,
        "/v1/usage?group_by=session,model&interval=none&zone=Asia/Kathmandu",
        "/v1/usage?group_by=model&zone=Europe/Prague",
        "/v1/usage?group_by=session&interval=none&limit=1&page=1",
        "/v1/usage?interval=none",
        "/v1/usage?key=1",
        "/v1/usage?group_by=colour",
    )

    assert [
        (row["session"], row["model"], row["requests"], row["cost"], row["cost_nanos"])
        for row in by_session.json()["data"]
    ] == [("one", "small", 2, "0.000000006", 6), ("two", "small", 1, "0.000000003", 3)]
    (row,) = by_model.json()["data"]
    assert (row["model"], row["requests"], row["input_tokens"]) == ("small", 3, 15)
    assert row["start"].endswith(("T00:00:00+01:00", "T00:00:00+02:00"))
    assert [row["session"] for row in page.json()["data"]] == ["two"]
    assert (page.json()["total"]["requests"], page.json()["has_more"]) == (3, False)
    assert all_in_one.json()["data"][0]["cost_nanos"] == 9
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "key")
    assert (odd.status_code, odd.json()["error"]["param"]) == (400, "group_by")


def test_a_bad_key_gets_the_usual_error(settings: Any, alices_key: IssuedKey) -> None:
    paths = ("/v1/key", "/v1/credits", "/v1/usage", "/v1/generation?id=x")
    answers = get_all(settings, f"sk-tg-{'0' * 38}", *paths)
    assert {answer.status_code for answer in answers} == {401}


@in_loop
async def test_a_team_has_a_limit_of_look_ups_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def wait(read: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(release.wait(), loop).result(30)

    monkeypatch.setattr(look_ups, "_read", wait)
    waiting = [asyncio.create_task(look_up(1, bool)) for _ in range(look_ups.MOST_OF_A_TEAM)]
    await asyncio.sleep(0)
    with pytest.raises(errors.RateLimitError):
        await look_up(1, bool)
    another = asyncio.create_task(look_up(2, bool))
    release.set()
    assert all(await asyncio.gather(*waiting, another))
    assert not look_ups._under_way


def test_the_database_away_is_a_503(settings: Any, alices_key: IssuedKey) -> None:
    def slow() -> None:
        UsageRecord.objects.raw("SELECT pg_sleep(60), 1 AS request_id")[0]

    settings.DEBUG = False
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(look_ups, "STATEMENT_SECONDS", 0.05)
        with pytest.raises(errors.ServiceUnavailableError):
            async_to_sync(look_up)(1, slow)


def test_a_quote_has_the_contracts_price_and_the_keys_history(
    settings: Any, customer: Customer, alices_key: IssuedKey, alices_team: Any
) -> None:
    make_model("alpha")
    make_model("beta")
    ended = {"model": "alpha", "output_tokens": 30, "input_tokens": 10, "cached_tokens": 5}
    serve(customer, output_nanos=1, **ended)
    serve(customer, output_nanos=1, **{**ended, "output_tokens": 50})
    other = customer_of(customer.account, issue(alices_team, None, "other").key)
    serve(other, output_nanos=1, **{**ended, "output_tokens": 9_000})
    roll_up_recent(1)
    customer.change_key(allowed_models=["alpha"])
    usual, *_ = quotes_of(settings, alices_key.plaintext, "alpha")
    agree(alices_team)
    reduced, refused, strangers = quotes_of(
        settings, alices_key.plaintext, "alpha", "beta", "nobodys"
    )

    found = usual.json()
    assert found["likely"]["requests"] == 2
    parts = {part["component"]: part["quantity"] for part in found["likely"]["components"]}
    assert parts["output"] == 40
    assert abs(parts["input"] - parts["cached_input"]) <= 1
    assert reduced.json()["hold_nanos"] == pytest.approx(found["hold_nanos"] / 2, abs=2)
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "model_not_allowed")
    assert (strangers.status_code, strangers.json()["error"]["code"]) == (404, "model_not_found")
    assert customer.balances[1] == 0


def agree(team: Any) -> None:
    """Agree on half the list prices with a team, from now on."""
    clerk = User.objects.create_superuser("clerk@example.com", "clerks secret")
    approver = User.objects.create_superuser("second@example.com", "clerks secret")
    proposed = contracts.request(Staff(team, clerk), terms(factor_millionths=500_000))
    contracts.approve(proposed, approver)


def quotes_of(settings: Any, key: str, *models: str) -> list[Any]:
    """Return the quotes of a small chat with each of the models."""

    async def ask() -> list[Any]:
        async with served(settings) as client:
            return [
                await client.post(
                    "/v1/chat/completions/quote",
                    json={"model": model, "messages": [{"role": "user", "content": "x" * 400}]},
                    headers=bearer(key),
                )
                for model in models
            ]

    return async_to_sync(ask)()
