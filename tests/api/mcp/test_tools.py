"""The MCP server's tools: whom they act for, what they find, and what they refuse."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from accounts import key_actions, keys
from accounts.access import Actor
from accounts.models import ApiKey, AuditEntry
from api.gateway import look_ups
from billing.ledger import postings
from billing.models import CreditAccount
from tests.api.mcp.calls import Server, rpc, tool, with_server
from tests.api.operations.test_account import customer_of
from tests.api.served import bearer
from tests.cast import IssuedKey, everything_in_the_database, issue
from tests.portal.keys_pages import load_catalogue
from tests.portal.serving import serve

pytestmark = pytest.mark.django_db(transaction=True)
DOLLAR = 10**9


@pytest.fixture
def used(
    monkeypatch: pytest.MonkeyPatch,
    alices_account: CreditAccount,
    alices_key: IssuedKey,
    charlies_account: CreditAccount,
    charlies_key: IssuedKey,
) -> None:
    """Alice's key spent two dollars of ten, another of her team one, Charlie's key three."""
    load_catalogue(monkeypatch)
    for account, key, spent in (
        (alices_account, alices_key.key, 2),
        (alices_account, issue(alices_account.team, None, "other").key, 1),
        (charlies_account, charlies_key.key, 3),
    ):
        postings.grant(account, 10 * DOLLAR, reference=f"credit {key.pk}")
        serve(customer_of(account, key), hold_nanos=4 * DOLLAR, output_nanos=spent * DOLLAR)


@pytest.mark.usefixtures("used")
def test_a_key_sees_its_own_usage_and_its_teams_balance(
    settings: Any, alices_key: IssuedKey
) -> None:
    async def use(server: Server) -> None:
        found = await server.call("balance")
        assert found["balance"] == "17.000000000"
        assert found["key"]["usage"] == 2
        report = await server.call("usage", interval="none", group_by="model")
        assert (report["total"]["cost_nanos"], report["total"]["requests"]) == (2 * DOLLAR, 1)
        assert "unknown_parameter" in await server.call("usage", key=1)
        assert "invalid_value" in await server.call("usage", zone="Nowhere")
        listed = await server.call("models")
        assert "glm-5.2" in [model["id"] for model in listed["data"]]
        one = await server.call("models", model="glm-5.2")
        assert one["pricing"]["prompt"]
        assert "model_not_found" in await server.call("models", model="nothing")

    with_server(settings, alices_key.plaintext, use)


@pytest.mark.usefixtures("used")
def test_a_quote_is_the_apis_own(settings: Any, alices_key: IssuedKey) -> None:
    body = {"model": "glm-5.2", "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9}

    async def use(server: Server) -> None:
        found = await server.call("quote", body=body)
        own = await server.client.post(
            "/v1/chat/completions/quote", json=body, headers=bearer(server.key)
        )
        assert found == own.json()
        assert found["most"]["cost_nanos"] > 0
        unknown = await server.call("quote", body={**body, "model": "nothing"})
        assert "model_not_found" in unknown
        assert "invalid" in await server.call("quote", body=body, endpoint="nothing")
        assert "missing" in await server.call("quote")
        embedding = await server.call(
            "quote", endpoint="embeddings", body={"model": "nothing", "input": "Hi"}
        )
        assert "model_not_found" in embedding

    with_server(settings, alices_key.plaintext, use)


@pytest.mark.usefixtures("used")
def test_a_management_key_sees_its_team_and_no_other(
    settings: Any, management_key: IssuedKey, charlies_key: IssuedKey
) -> None:
    async def use(server: Server) -> None:
        listed = await server.result(rpc("tools/list"))
        names = [each["name"] for each in listed["tools"]]
        assert names == ["balance", "usage", "models", "create_key"]
        team = await server.call("balance")
        assert team["balance"]["available"] == "17.000000000"
        report = await server.call("usage", interval="none", group_by="key")
        assert report["total"]["cost_nanos"] == 3 * DOLLAR
        assert charlies_key.key.pk not in [row["key"] for row in report["data"]]
        assert "not_found" in await server.call("usage", key=charlies_key.key.pk)
        listed = await server.call("models")
        assert "glm-5.2" in [model["id"] for model in listed["data"]]
        assert (await server.call("models", model="glm-5.2"))["id"] == "glm-5.2"
        assert "model_not_found" in await server.call("models", model="nothing")
        answer = await server.post(tool("quote", body={}))
        assert answer.json()["error"]["code"] == -32602

    with_server(settings, management_key.plaintext, use)


@pytest.mark.usefixtures("used")
def test_a_management_key_creates_limited_keys(
    settings: Any, management_key: IssuedKey, alices_team: Any
) -> None:
    async def use(server: Server) -> Any:
        created = await server.call(
            "create_key", name="Agent", budget_total="5", budget_day="1", allowed_models=["glm-5.2"]
        )
        own = await server.client.get("/v1/key", headers=bearer(created["key"]))
        assert own.json()["data"]["name"] == "Agent"
        return created

    created = with_server(settings, management_key.plaintext, use)
    key = ApiKey.objects.get(pk=created["id"])
    assert (key.team, key.scope, key.allowed_models) == (alices_team, "inference", ["glm-5.2"])
    assert (key.budget_total_nanos, key.budget_day_nanos) == (5 * DOLLAR, DOLLAR)
    assert key.expires_at is not None
    days = key.expires_at - datetime.now(UTC)
    assert timedelta(days=29) < days <= timedelta(days=30)
    assert created["key"] not in everything_in_the_database()
    assert AuditEntry.objects.filter(action="key.created", subject=str(key)).exists()


@pytest.mark.usefixtures("used")
def test_a_key_without_limits_is_not_created(
    settings: Any, management_key: IssuedKey, alices_team: Any
) -> None:
    before = ApiKey.objects.count()

    async def use(server: Server) -> None:
        good = {"name": "Agent", "budget_total": "5"}
        for wrong in (
            {"budget_total": "100.01"},
            {"budget_total": "nothing"},
            {"budget_total": None},
            {"expires_in_days": 91},
            {"expires_in_days": 0},
            {"expires_in_days": None},
            {"name": ""},
            {"scope": "management"},
            {"requests_per_minute": 10},
        ):
            found = await server.call("create_key", **(good | wrong))
            assert isinstance(found, str), wrong
        assert "missing" in await server.call("create_key", name="Agent")

    with_server(settings, management_key.plaintext, use)
    alices_team.max_keys = 0
    alices_team.save()

    async def in_a_full_team(server: Server) -> None:
        assert "conflict" in await server.call("create_key", name="Agent", budget_total="5")

    with_server(settings, management_key.plaintext, in_a_full_team)
    assert ApiKey.objects.count() == before


@pytest.mark.usefixtures("used")
def test_an_api_key_creates_none(settings: Any, alices_key: IssuedKey) -> None:
    async def use(server: Server) -> None:
        answer = await server.post(tool("create_key", name="Agent", budget_total="5"))
        assert answer.json()["error"]["message"] == "Unknown tool: create_key"

    before = ApiKey.objects.count()
    with_server(settings, alices_key.plaintext, use)
    assert ApiKey.objects.count() == before


@pytest.mark.usefixtures("used")
def test_keys_that_open_nothing_open_no_tool(
    settings: Any, alices_key: IssuedKey, management_key: IssuedKey, alice: Any, alices_team: Any
) -> None:
    actor = Actor(team=alices_team, user=alice, role="owner")
    key_actions.revoke_key(actor, alices_key.key)
    key_actions.freeze_key(actor, management_key.key, ip_address=None)

    async def use(server: Server) -> None:
        for key in (alices_key.plaintext, keys.new_key("sk-tg-"), "nonsense"):
            answer = await Server(server.client, key).post(rpc("tools/list"))
            assert answer.status_code == 401
            assert answer.headers["www-authenticate"] == "Bearer"
            assert "id" not in answer.json()
            assert answer.json()["error"]["data"]["code"] == "invalid_api_key"
        nobody = await server.client.post("/mcp", json=rpc("ping"))
        assert nobody.status_code == 401
        frozen = await server.post(rpc("ping"))
        assert (frozen.status_code, frozen.json()["error"]["data"]["code"]) == (403, "key_frozen")

    with_server(settings, management_key.plaintext, use)


@pytest.mark.usefixtures("used")
def test_a_suspended_team_gets_nothing(
    settings: Any, management_key: IssuedKey, alices_key: IssuedKey, alices_team: Any
) -> None:
    alices_team.suspended_at = datetime.now(UTC)
    alices_team.save()

    async def use(server: Server) -> None:
        for key in (management_key.plaintext, alices_key.plaintext):
            answer = await Server(server.client, key).post(tool("balance"))
            assert answer.status_code == 403
            assert answer.json()["error"]["data"]["code"] == "team_suspended"

    with_server(settings, management_key.plaintext, use)


@pytest.mark.usefixtures("used")
def test_too_many_calls_at_once_are_refused(
    settings: Any, monkeypatch: pytest.MonkeyPatch, alices_key: IssuedKey, management_key: IssuedKey
) -> None:
    monkeypatch.setattr(look_ups, "MOST_OF_A_TEAM", 0)

    async def use(server: Server) -> None:
        assert "rate_limit_exceeded" in await server.call("balance")
        manager = await Server(server.client, management_key.plaintext).post(rpc("tools/list"))
        assert manager.status_code == 429
        assert int(manager.headers["retry-after"]) >= 1

    with_server(settings, alices_key.plaintext, use)


@pytest.mark.usefixtures("used")
def test_many_wrong_keys_lock_an_address_out(settings: Any, alices_key: IssuedKey) -> None:
    settings.ADDRESS_REFUSALS_PER_MINUTE = 3

    async def use(server: Server) -> None:
        for _ in range(3):
            wrong = Server(server.client, keys.new_key("sk-tg-"))
            assert (await wrong.post(rpc("ping"))).status_code == 401
        assert (await server.post(rpc("ping"))).status_code == 429

    with_server(settings, alices_key.plaintext, use)


def test_listed_schemas_are_objects_without_references(
    settings: Any, alices_account: Any, alices_key: IssuedKey, management_key: IssuedKey
) -> None:
    async def use(server: Server) -> None:
        for key in (server.key, management_key.plaintext):
            listed = (await Server(server.client, key).result(rpc("tools/list")))["tools"]
            for each in listed:
                schema = each["inputSchema"]
                assert (schema["type"], schema["additionalProperties"]) == ("object", False)
                assert "$ref" not in json.dumps(schema)
                assert each["annotations"]["readOnlyHint"] is (each["name"] != "create_key")

    with_server(settings, alices_key.plaintext, use)
