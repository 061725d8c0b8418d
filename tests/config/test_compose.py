"""The production shape in docker-compose.yml: what its containers may do, and whom they reach."""

import re
from typing import Any

import pytest
import yaml

from tests.support.forks import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text()


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_writes_nowhere_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]


def test_no_container_runs_as_root() -> None:
    own_image = (ROOT / "platform/docker/Dockerfile").read_text()
    assert re.search(r"^USER tollgate$", own_image, re.MULTILINE)
    assert all(service.get("user") for service in SERVICES.values() if "build" not in service)


def test_the_databases_have_no_way_out_and_the_proxy_none_to_them() -> None:
    assert COMPOSE["networks"]["data"] == {"internal": True}
    assert SERVICES["postgres"]["networks"] == SERVICES["valkey"]["networks"] == ["data"]
    assert SERVICES["nginx"]["networks"] == ["edge"]
    assert {name for name, service in SERVICES.items() if "ports" in service} == {"nginx"}


def test_valkey_wants_the_password_that_the_service_sends() -> None:
    assert "requirepass $$VALKEY_PASSWORD" in SERVICES["valkey"]["command"][2]
    for name in ("api", "pages", "worker", "migrate"):
        assert ":${VALKEY_PASSWORD:?}@valkey" in SERVICES[name]["environment"]["REDIS_URL"]


def test_pages_and_api_are_apart() -> None:
    assert SERVICES["pages"]["environment"]["SERVES"] == "pages"
    assert SERVICES["api"]["environment"]["SERVES"] == "api"
    shared = {"DATABASE_URL", "REDIS_URL", "BEHIND_PROXY", "SPOOL_DIR"}
    assert shared <= set(SERVICES["pages"]["environment"]) & set(SERVICES["api"]["environment"])


def test_the_example_names_every_variable_that_compose_needs() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    needed = set(re.findall(r"\$\{([A-Z_]+):\?\}", text))
    assert needed <= set(re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert needed == {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"}
