"""Which process serves what: pages, the API, or both."""

from typing import Any

import pytest

from config.asgi import Application
from tests.api.gateway.world import in_loop
from tests.support import fresh_programs


async def status_of(application: Application, path: str) -> int:
    """Return the status that a process answers to a GET."""
    statuses: list[int] = []
    scope = {
        "type": "http",
        "method": "GET",
        "scheme": "http",
        "path": path,
        "query_string": b"",
        "headers": [(b"host", b"localhost")],
        "client": ("127.0.0.1", 50000),
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    await application(scope, receive, send)
    return statuses[0]


@pytest.mark.parametrize("path", ["/v1/models", "/health", "/v1/nothing", "/chat/completions"])
@in_loop
async def test_a_process_of_pages_has_no_gateway(path: str) -> None:
    assert await status_of(Application("pages"), path) == 421


@pytest.mark.parametrize("path", ["/", "/admin/", "/api/manage/v1/keys", "/webhooks/stripe"])
@in_loop
async def test_a_process_of_the_api_has_no_pages(path: str) -> None:
    assert await status_of(Application("api"), path) == 421


@in_loop
async def test_a_process_of_pages_opens_and_closes_without_a_database() -> None:
    messages = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await Application("pages")({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


def test_any_other_value_ends_the_start() -> None:
    environment = {"SERVES": "page", "PATH": ""}
    code, _, complained = fresh_programs.run(["-c", "import config.settings"], environment)
    assert code != 0
    assert "SERVES='page' must be one of all, pages, api" in complained
