"""The shipped nginx: what it tells the service about a request, and which processes it asks."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
from django.urls import NoReverseMatch, reverse

from api.operations import OPERATIONS
from api.router import match
from api.surfaces import SURFACES
from tests.config.nginx import echo, nginx
from tests.portal.url_map import PAGES


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        echo("pages") as pages,
        echo("api") as api,
        nginx(tmp_path_factory.mktemp("nginx"), {"pages": pages, "api": api}) as address,
    ):
        yield address


def told(address: str, **headers: str) -> Any:
    """Return the headers that the service gets, for a request with these."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.get(address, headers=named, timeout=10).json()["headers"]


def test_a_balancers_scheme_reaches_the_service(proxied: str) -> None:
    assert told(proxied, x_forwarded_proto="https")["x-forwarded-proto"] == "https"
    assert told(proxied, x_forwarded_proto="http")["x-forwarded-proto"] == "http"
    assert told(proxied)["x-forwarded-proto"] == "http"
    assert told(proxied, x_forwarded_proto="gopher")["x-forwarded-proto"] == "http"


def test_a_strangers_scheme_does_not(tmp_path: Path) -> None:
    with (
        echo("both") as port,
        nginx(tmp_path, {"pages": port, "api": port}, balancer="127.0.0.0/8 1;") as direct,
    ):
        assert told(direct, x_forwarded_proto="https")["x-forwarded-proto"] == "http"


def test_the_host_keeps_its_port_and_the_clients_address_is_appended(proxied: str) -> None:
    headers = told(proxied, x_forwarded_for="192.0.2.7")
    assert headers["host"] == proxied.removeprefix("http://")
    assert headers["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"


API_PATHS = sorted(
    surface.mount + path.replace("{model}", "zai-org/GLM").replace("{id}", "video_1")
    for surface in SURFACES
    for operation in OPERATIONS.values()
    for path in (operation.path, *operation.also_at)
    if operation.is_served_at(surface)
)
ODD_PATHS = [
    *("/", "/v1", "/v1/", "/v1x", "/modelsx", "/chat", "/chat/1", "/chat/completions/", "/v1/no"),
    *("/api", "/api/manage/v1/keys", "/api/v1/models", "//v1//models", "/v2/rerank/x", "/images/x"),
    *("/mcp", "/mcp/", "/mcpx", "/v1/mcp"),
    *("/admin/", "/webhooks/stripe", "/static/site.css", "/openapi.json", "/%761/models"),
]


def page_paths() -> list[str]:
    """Return the addresses of the pages that have no argument."""
    found = []
    for name in PAGES:
        with suppress(NoReverseMatch):
            found.append(reverse(name))
    return found


def test_each_path_reaches_the_processes_that_serve_it(proxied: str) -> None:
    paths = [*API_PATHS, *page_paths(), *ODD_PATHS]
    assert len(paths) > 150
    with httpx.Client(base_url=proxied) as client:
        reached = {path: client.get(f"{proxied}{path}").json()["server"] for path in paths}
    served_by = {path: "api" if match(unquote(path)) else "pages" for path in paths}
    assert reached == served_by
