"""The shipped nginx: what it tells the service about a request."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.config.nginx import echo, nginx


@pytest.fixture(scope="module")
def proxied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        echo("web") as port,
        nginx(tmp_path_factory.mktemp("nginx"), {"web": port}) as address,
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
    with echo("web") as port, nginx(tmp_path, {"web": port}, balancer="127.0.0.0/8 1;") as direct:
        assert told(direct, x_forwarded_proto="https")["x-forwarded-proto"] == "http"


def test_the_host_keeps_its_port_and_the_clients_address_is_appended(proxied: str) -> None:
    headers = told(proxied, x_forwarded_for="192.0.2.7")
    assert headers["host"] == proxied.removeprefix("http://")
    assert headers["x-forwarded-for"] == "192.0.2.7, 127.0.0.1"
