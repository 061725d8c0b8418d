"""What Claude Code asks of a gateway beside Messages: where to sign in, and what was spent."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from asgiref.sync import async_to_sync, sync_to_async

from accounts import keys
from accounts.models import ApiKey
from api.gateway.spend_limits import SpendLimit, fullest, headers_of, limits_of
from api.models import Model, Route, Upstream
from billing.ledger import postings
from billing.ledger.budgets import set_budget
from billing.models import BudgetRule, CatalogueVersion, CreditAccount, PriceVersion, Product
from tests.api.gateway import upstream as scripted
from tests.api.gateway.upstream import answer, completion
from tests.api.served import bearer, served
from tests.billing.ledger_calls import Customer
from tests.cast import IssuedKey
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db(transaction=True)

DOLLAR = 10**9
Scope, Period = BudgetRule.Scope, BudgetRule.Period
PREFIX = "anthropic-ratelimit-unified-"


@pytest.fixture
def customer(alices_account: CreditAccount, alices_key: IssuedKey) -> Customer:
    """Alice's team with ten dollars and a key that has spent $4.12."""
    postings.grant(alices_account, 10 * DOLLAR, reference="ten dollars")
    version = CatalogueVersion.objects.get(pk=1).version
    found = Customer(alices_account.team, alices_account, alices_key.key, version)
    serve(found, hold_nanos=5 * DOLLAR, output_nanos=4_120_000_000)
    return found


def ask(settings: Any, method: str, *paths: str, **given: Any) -> list[httpx.Response]:
    """Return what requests are answered."""

    async def ask_all() -> list[httpx.Response]:
        async with served(settings) as client:
            return [await client.request(method, path, **given) for path in paths]

    return async_to_sync(ask_all)()


def test_the_metadata_is_below_each_address_that_agents_are_given(settings: Any) -> None:
    path = ".well-known/oauth-authorization-server"
    mounts = ("", "/api", "/v1", "/api/v1", "/ide/v1")
    answers = ask(settings, "GET", *(f"{mount}/{path}" for mount in mounts))
    for mount, found in zip(mounts, answers, strict=True):
        assert found.status_code == 200, mount
        metadata = found.json()
        base_url = "http://127.0.0.1:8000"
        assert metadata["device_authorization_endpoint"] == f"{base_url}/oauth/device_authorization"
        assert metadata["token_endpoint"] == f"{base_url}/oauth/token"
        assert metadata["revocation_endpoint"] == f"{base_url}/oauth/revoke"
        assert "refresh_token" in metadata["grant_types_supported"]
        assert "authorization_endpoint" not in metadata
    assert answers[2].json()["issuer"] == "http://127.0.0.1:8000/v1"


def test_the_status_line_gets_the_fullest_limit_in_dollars(
    settings: Any, customer: Customer, alices_key: IssuedKey
) -> None:
    customer.change_key(budget_day_nanos=5 * DOLLAR, budget_month_nanos=40 * DOLLAR)
    headers = bearer(alices_key.plaintext)
    paths = ("/api/oauth/usage?skip_spend=1", "/v1/api/oauth/usage", "/api/api/oauth/usage")
    answers = ask(settings, "GET", *paths, headers=headers)
    assert len({found.text for found in answers}) == 1
    assert answers[0].headers["cache-control"] == "no-store"
    shown = answers[0].json()
    usage = shown["extra_usage"]
    assert (usage["monthly_limit"], usage["used_credits"], usage["utilization"]) == (500, 412, 82)
    assert (usage["is_enabled"], usage["currency"]) == (True, "USD")
    assert usage["daily"]["used_credits"] == usage["weekly"]["used_credits"] == 412
    balance, day, month = shown["limits"]
    assert (balance["percent"], day["percent"], month["percent"]) == (41, 82, 10)
    assert [row["is_active"] for row in (balance, day, month)] == [False, True, False]
    assert (day["group"], day["severity"], month["severity"]) == ("daily", "warning", "normal")
    tomorrow = datetime.fromisoformat(day["resets_at"])
    assert timedelta() < tomorrow - datetime.now(UTC) <= timedelta(days=1, minutes=5)
    (refused,) = ask(settings, "GET", paths[0], headers=bearer("sk-tg-no"))
    assert (refused.status_code, refused.headers["x-should-retry"]) == (401, "false")
    assert refused.json()["error"]["type"] == "authentication_error"


def test_telemetry_is_accepted(settings: Any, customer: Customer, alices_key: IssuedKey) -> None:
    paths = ("/v1/metrics", "/v1/logs", "/v1/traces", "/api/v1/metrics", "/v1/v1/logs")
    headers = bearer(alices_key.plaintext)
    answers = ask(settings, "POST", *paths, headers=headers, content=b"\x0a\x00")
    assert [found.status_code for found in answers] == [200] * 5
    for refused in ({}, bearer(keys.new_key("sk-tg-"))):
        (found,) = ask(settings, "POST", "/v1/metrics", headers=refused, content=b"x")
        assert found.status_code == 401


def make_model(port: int) -> None:
    """Make a model whose answers come from an upstream at this port."""
    product = Product.objects.create(sku="m")
    PriceVersion.objects.create(
        product=product,
        effective_from=datetime(2020, 1, 1, tzinfo=UTC),
        input_nanos_per_million=DOLLAR,
        output_nanos_per_million=DOLLAR,
    )
    model = Model.objects.create(
        name="m", product=product, context_tokens=128_000, max_output_tokens=8_192
    )
    upstream = Upstream.objects.create(name="u", base_url=f"http://127.0.0.1:{port}/v1")
    Route.objects.create(model=model, upstream=upstream, upstream_model="m")


def test_messages_say_how_full_the_limit_is(
    settings: Any, customer: Customer, alices_key: IssuedKey
) -> None:
    customer.change_key(budget_day_nanos=5 * DOLLAR)
    message = {"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": "hi"}]}

    async def ask_until_shown() -> list[httpx.Response]:
        async with scripted.Upstream(*[answer(completion())] * 200) as there:
            await sync_to_async(make_model)(there.port)
            async with served(settings) as client:
                headers = bearer(alices_key.plaintext)
                for _ in range(200):
                    shown = await client.post("/v1/messages", json=message, headers=headers)
                    if f"{PREFIX}status" in shown.headers:
                        break
                    await asyncio.sleep(0.05)
                once = headers | {"idempotency-key": "once"}
                await client.post("/v1/messages", json=message, headers=once)
                repeat = await client.post("/v1/messages", json=message, headers=once)
                plain = await client.post("/v1/chat/completions", json=message, headers=headers)
                spending = {**headers, "x-session-id": "s", "x-session-budget": "0.00000001"}
                session = await client.post("/v1/messages", json=message, headers=spending)
                spent = ApiKey.objects.filter(pk=alices_key.key.pk)
                await sync_to_async(spent.update)(budget_day_nanos=4 * DOLLAR)
                refused = await client.post("/v1/messages", json=message, headers=headers)
                await sync_to_async(spent.update)(budget_day_nanos=5 * DOLLAR)
                team = customer.team
                await sync_to_async(set_budget)(team, Scope.TEAM, Period.WEEK, 4 * DOLLAR)
                by_team = await client.post("/v1/messages", json=message, headers=headers)
                return [shown, repeat, plain, session, refused, by_team]

    shown, repeat, plain, session, refused, by_team = async_to_sync(ask_until_shown)()
    found = {
        name.removeprefix(PREFIX): value
        for name, value in shown.headers.items()
        if name.startswith(PREFIX)
    }
    resets_at = int(found.pop("reset"))
    assert int(found.pop("overage-reset")) == resets_at
    assert resets_at % 86_400 == 0
    assert found == {
        "status": "allowed_warning",
        "representative-claim": "overage",
        "overage-status": "allowed_warning",
        "overage-utilization": "0.82",
        "overage-surpassed-threshold": "0.75",
    }
    assert repeat.headers["idempotent-replayed"] == "true"
    assert repeat.headers.get_list(f"{PREFIX}status") == ["allowed_warning"], "as it is now, once"
    assert not [name for name in plain.headers if name.startswith(PREFIX)]
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "billing_error"
    assert refused.headers["x-should-retry"] == "false"
    assert 0 < int(refused.headers["retry-after"]) <= 86_400
    assert refused.headers[f"{PREFIX}status"] == "rejected"
    assert refused.headers[f"{PREFIX}overage-disabled-reason"] == "org_spend_cap_reached"
    assert refused.headers[f"{PREFIX}overage-period"] == "daily"
    assert f"{PREFIX}representative-claim" not in refused.headers
    assert f"{PREFIX}overage-status" not in refused.headers
    assert by_team.headers[f"{PREFIX}overage-period"] == "weekly"
    assert 0 < int(by_team.headers["retry-after"]) <= 7 * 86_400
    assert session.headers[f"{PREFIX}status"] == "rejected"
    assert "retry-after" not in session.headers, "a session's budget never resets"
    assert f"{PREFIX}reset" not in session.headers


def test_no_limit_is_read_for_an_unknown_key(
    settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []

    async def look_up(team_id: int, _read: object) -> None:
        read.append(team_id)

    monkeypatch.setattr("api.gateway.spend_limits.look_up", look_up)
    headers = bearer(keys.new_key("sk-tg-"))
    (refused,) = ask(settings, "POST", "/v1/messages", headers=headers, json={"model": "m"})
    assert (refused.status_code, read) == (401, [])


def limit(spent: int, of: int, days: int = 1) -> SpendLimit:
    return SpendLimit("daily", of, spent, datetime(2026, 12, 1, tzinfo=UTC) + timedelta(days=days))


def test_the_fraction_stays_below_one_while_anything_is_left() -> None:
    assert limit(999, 1000).utilization == 0.99
    assert limit(1000, 1000).utilization == 1
    assert limit(0, 0).utilization == 1
    assert [limit(n, 100).threshold for n in (75, 76, 95, 96, 100)] == [
        None,
        0.75,
        0.75,
        0.95,
        0.95,
    ]
    assert dict(headers_of(limit(1, 100)))[b"anthropic-ratelimit-unified-status"] == b"allowed"
    assert fullest([limit(1, 2), limit(9, 10), limit(0, 10)]) == limit(9, 10)
    assert fullest([limit(0, 10), limit(0, 5)]) == limit(0, 5), "the tighter one of equals"
    late = limit(5, 5, days=30)
    assert fullest([limit(5, 5), late, limit(9, 10)]) == late


def test_a_key_without_a_budget_has_the_balance_for_its_limit(customer: Customer) -> None:
    key = ApiKey.objects.select_related("spend").get(pk=customer.key.pk)
    (balance,) = limits_of(key, datetime.now(UTC))
    assert (balance.spent_nanos, balance.limit_nanos) == (4_120_000_000, 10 * DOLLAR)
    assert balance.resets_at.day == 1
