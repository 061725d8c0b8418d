"""Point 4: several keys, made and revoked at any time, shown once and kept as digests."""

import re

import httpx

from tests.acceptance.services import HELLO, Service

KEYS = "/api/manage/v1/keys"


def works(default: Service, key: str) -> bool:
    """Say whether a key is taken; it is by all workers or by none."""
    statuses = set()
    for _ in range(4):  # each on a connection of its own, hence on either worker
        with default.client(key) as client:
            answer = client.post(
                "/v1/chat/completions", json={"model": "glm-5.2", "messages": HELLO}
            )
        statuses.add(answer.status_code)
    assert len(statuses) == 1
    return statuses == {200}


def test_a04_a_team_has_several_keys_and_revokes_each_at_any_time(default, manager) -> None:
    made = [manager.post(KEYS, json={"name": name}).json() for name in ("one", "two", "three")]
    assert all(works(default, one["key"]) for one in made)
    revoked = manager.delete(f"{KEYS}/{made[1]['id']}")
    assert revoked.json()["revoked_at"]
    # From the very next request on.
    assert [works(default, one["key"]) for one in made] == [True, False, True]


def test_a04_a_revoked_keys_answer_is_that_of_an_unknown_one(default, manager) -> None:
    made = manager.post(KEYS, json={"name": "to be revoked"}).json()
    manager.delete(f"{KEYS}/{made['id']}")
    with default.client(made["key"]) as client:
        answer = client.get("/v1/models")
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "invalid_api_key"


def test_a04_a_key_is_rotated_with_a_time_to_change_over(default, manager) -> None:
    old = manager.post(KEYS, json={"name": "rotated", "allowed_models": ["glm-5.2"]}).json()
    new = manager.post(f"{KEYS}/{old['id']}/rotate", json={"grace_seconds": 600})
    assert new.status_code == 201
    assert new.json()["allowed_models"] == ["glm-5.2"]
    assert works(default, old["key"])
    assert works(default, new.json()["key"])
    now = manager.post(KEYS, json={"name": "leaked"}).json()
    manager.post(f"{KEYS}/{now['id']}/rotate", json={"grace_seconds": 0})
    assert not works(default, now["key"])


def test_a04_a_keys_plaintext_is_shown_once(default: Service, manager: httpx.Client) -> None:
    answer = manager.post(KEYS, json={"name": "secret"})
    made = answer.json()
    assert re.fullmatch(r"sk-tg-[0-9A-Za-z]{38}", made["key"])
    assert answer.headers["cache-control"] == "no-store"
    assert made["prefix"] == "sk-tg-"
    assert made["last_four"] == made["key"][-4:]
    again = manager.get(f"{KEYS}/{made['id']}")
    assert "key" not in again.json()
    for shown in (again, manager.get(KEYS, params={"limit": 100})):
        assert made["key"][6:40] not in shown.text


def test_a04_neither_database_nor_logs_hold_a_key(default: Service, manager) -> None:
    key = manager.post(KEYS, json={"name": "kept as a digest"}).json()["key"]
    assert works(default, key)
    secret = key.removeprefix("sk-tg-")[:32]
    tables = default.stack.sql("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    for (table,) in tables:
        (found,) = default.stack.sql(
            f'SELECT count(*) FROM "{table}" t WHERE strpos(t::text, %s) > 0', secret
        )[0]
        assert found == 0, table
    for log in ("web", "simulator"):
        assert secret not in default.stack.log(log)


def test_a04_a_new_customer_has_a_key_that_works(default: Service, poor_key: str) -> None:
    with default.client(poor_key) as client:
        assert client.get("/v1/models").status_code == 200
