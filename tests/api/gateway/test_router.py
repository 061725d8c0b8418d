"""Paths, methods, CORS, and the endpoints that relay nothing."""

import json

import pytest

from api.router import match
from tests.api.gateway.upstream import answer, completion
from tests.api.gateway.world import World, body, in_loop

GOOD = answer(completion())
MOUNTS = ["", "/v1", "/api/v1", "/api/paas/v4", "/api/coding/paas/v4", "/ide/v1"]


@pytest.mark.parametrize("mount", MOUNTS)
@in_loop
async def test_every_mount_serves_the_same_endpoints(mount: str) -> None:
    async with World(GOOD) as world:
        assert (await world.post(body(), f"{mount}/chat/completions")).status == 200
        assert (await world.post(body(), f"{mount}/chat/completions/")).status == 200
        listed = await world.post(b"", f"{mount}/models", method="GET")
        assert [model["id"] for model in listed.json["data"]] == ["public-model"]
        shown = await world.post(b"", f"{mount}/models/other-name", method="GET")
        assert shown.json["id"] == "other-name"
    assert world.gate.settlements[0].surface == match(f"{mount}/models").surface.name  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("path", "argument"),
    [
        ("/v1/models/zai-org/GLM-4.7-FP8", "zai-org/GLM-4.7-FP8"),
        ("/v1/models/zai-org%2FGLM-4.7-FP8", "zai-org/GLM-4.7-FP8"),
        ("/models/a/", "a"),
    ],
)
def test_a_models_id_may_have_slashes(path: str, argument: str) -> None:
    found = match(path)
    assert found is not None
    assert found.argument == argument


@pytest.mark.parametrize(
    "path", ["/", "/chat", "/admin/", "/api/manage/v1/keys", "/v1x", "/modelsx", "/docs", "/api"]
)
def test_other_paths_are_left_to_the_pages(path: str) -> None:
    assert match(path) is None


@pytest.mark.parametrize("path", ["/v1/no", "/v1", "/api/paas/v4/x/y", "/images/x", "/v1/chat"])
@in_loop
async def test_an_unknown_path_under_a_mount_is_a_404_of_the_api(path: str) -> None:
    async with World(GOOD) as world:
        reply = await world.post(b"", path)
    assert (reply.status, reply.json["error"]["code"]) == (404, "unknown_url")


@pytest.mark.parametrize(("method", "path"), [("GET", "/chat/completions"), ("POST", "/models")])
@in_loop
async def test_a_wrong_method_is_a_405_that_names_the_right_ones(method: str, path: str) -> None:
    async with World(GOOD) as world:
        reply = await world.post(b"", f"/v1{path}", method=method)
    assert (reply.status, reply.json["error"]["code"]) == (405, "method_not_allowed")
    assert "OPTIONS" in reply.headers["allow"]
    assert method not in reply.headers["allow"].split(", ")


@in_loop
async def test_a_browser_of_another_origin_may_call() -> None:
    async with World(GOOD) as world:
        asked = {"origin": "https://x", "access-control-request-headers": "authorization,x-y"}
        preflight = await world.post(b"", method="OPTIONS", headers=asked)
        reply = await world.post(body(), headers={"origin": "https://x"})
    assert preflight.status == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert preflight.headers["access-control-allow-headers"] == "authorization,x-y"
    assert reply.headers["access-control-allow-origin"] == "*"
    assert "x-request-cost" in reply.headers["access-control-expose-headers"]


@in_loop
async def test_limits_are_told_in_both_conventions() -> None:
    async with World(GOOD) as world:
        headers = (await world.chat()).headers
    assert headers["x-ratelimit-limit"] == headers["x-ratelimit-limit-requests"] == "60"
    assert headers["x-ratelimit-remaining"] == headers["x-ratelimit-remaining-requests"] == "59"
    assert headers["x-ratelimit-reset"] == "2000000000"
    assert headers["x-ratelimit-reset-requests"].endswith("s")
    assert headers["x-ratelimit-limit-tokens"] == "120000"
    assert headers["x-ratelimit-remaining-tokens"] == "119000"


@in_loop
async def test_models_need_a_key_and_count_nothing() -> None:
    async with World(GOOD) as world:
        denied = await world.post(b"", "/v1/models", method="GET", headers={"authorization": ""})
        assert denied.status == 401
        missing = await world.post(b"", "/v1/models/gone", method="GET")
        assert (missing.status, missing.json["error"]["code"]) == (404, "model_not_found")
        assert world.gate.admissions == []
        world.gate.is_away = True
        assert (await world.post(b"", "/v1/models", method="GET")).status == 503


@in_loop
async def test_the_coding_surface_lists_coding_models_only() -> None:
    async with World(GOOD, is_coding=False) as world:
        listed = await world.post(b"", "/api/coding/paas/v4/models", method="GET")
    assert listed.json["data"] == []


@in_loop
async def test_health_needs_no_key_and_no_database() -> None:
    async with World(GOOD) as world:
        reply = await world.post(b"", "/health", method="GET", headers={"authorization": ""})
    assert json.loads(reply.body) == {
        "status": "ok",
        "version": "1.0",
        "models": {"public-model": "operational"},
    }
