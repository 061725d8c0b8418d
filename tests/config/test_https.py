"""A service whose address is https, behind a proxy that says how the client came."""

import pytest
from django.test import Client

from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, body, in_loop
from tests.support import fresh_programs

BEHIND_TLS = {"https_only": True, "behind_proxy": True}
ENCRYPTED = {"x-forwarded-proto": "https"}


@pytest.mark.parametrize("stated", ["", "http", "http, https", "httpsx"])
@in_loop
async def test_an_api_call_in_clear_is_refused_and_costs_nothing(stated: str) -> None:
    async with World(answer(completion()), limits=BEHIND_TLS) as world:
        reply = await world.post(body(), headers={"x-forwarded-proto": stated})
    assert (reply.status, reply.json["error"]["code"]) == (400, "https_required")
    assert "https://" in reply.json["error"]["message"]
    assert "strict-transport-security" not in reply.headers  # RFC 6797 7.2
    assert not world.gate.admissions


@in_loop
async def test_the_refusal_speaks_the_operations_dialect() -> None:
    async with World(answer(completion()), limits=BEHIND_TLS) as world:
        reply = await world.post(b"{}", "/v1/messages")
    assert (reply.status, reply.json["type"]) == (400, "error")
    assert reply.json["error"]["type"] == "invalid_request_error"


@in_loop
async def test_an_encrypted_call_is_answered_with_strict_transport_security() -> None:
    async with World(answer(completion()), limits=BEHIND_TLS) as world:
        reply = await world.post(body(), headers=ENCRYPTED)
        unknown = await world.post(b"", "/v1/nothing", headers=ENCRYPTED)
    assert (reply.status, unknown.status) == (200, 404)
    for each in (reply, unknown):
        assert "max-age=31536000" in each.headers["strict-transport-security"]


@in_loop
async def test_a_balancer_may_ask_for_the_health_in_clear() -> None:
    async with World(answer(completion()), limits=BEHIND_TLS) as world:
        reply = await world.post(b"", "/health", method="GET")
    assert reply.status == 200


@in_loop
async def test_without_a_proxy_the_connection_itself_decides() -> None:
    async with World(answer(completion()), limits={"https_only": True}) as world:
        reply = await world.post(body(), headers=ENCRYPTED)
    assert reply.json["error"]["code"] == "https_required"


@in_loop
async def test_no_answer_is_sniffed_for_another_type() -> None:
    async with World(answer(completion())) as world:
        replies = [await world.post(body()), await world.post(b"{", "/v1/messages")]
    assert {reply.headers["x-content-type-options"] for reply in replies} == {"nosniff"}


@pytest.fixture
def https(settings: pytest.FixtureRequest) -> None:
    """Pages of a service whose address is https."""
    settings.SECURE_SSL_REDIRECT = True  # type: ignore[attr-defined]
    settings.SECURE_HSTS_SECONDS = 31_536_000  # type: ignore[attr-defined]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")  # type: ignore[attr-defined]


@pytest.mark.django_db
def test_pages_in_clear_are_redirected_and_the_management_api_refuses(https: None) -> None:
    client = Client()
    page = client.get("/docs/")
    assert (page.status_code, page["location"]) == (301, "https://testserver/docs/")
    managed = client.get("/api/manage/v1/keys", headers={"authorization": "Bearer sk-tg-x"})
    assert (managed.status_code, managed.json()["error"]["code"]) == (400, "https_required")


@pytest.mark.django_db
def test_encrypted_pages_are_served_with_strict_transport_security(https: None) -> None:
    client = Client(headers={"x-forwarded-proto": "https"})
    page, managed = client.get("/"), client.get("/api/manage/v1/keys")
    assert (page.status_code, managed.status_code) == (200, 401)
    assert page["strict-transport-security"]
    assert managed["strict-transport-security"]
    assert managed["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(("base_url", "prefix"), [("https://a.example", "__Host-"), ("", "")])
def test_cookies_are_bound_to_the_host_over_https(base_url: str, prefix: str) -> None:
    code = "import config.settings as s; print(s.SESSION_COOKIE_NAME, s.CSRF_COOKIE_NAME)"
    environment = {"LOCAL_DIR": "/nowhere", "BASE_URL": base_url}
    _, said, complained = fresh_programs.run(["-c", code], environment)
    assert said.split() == [f"{prefix}sessionid", f"{prefix}csrftoken"], complained
