"""systemd units and Kubernetes manifests: valid, hardened, and in agreement with docker-compose."""

import configparser
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from django.urls import reverse

from api.operations import OPERATIONS
from api.router import match
from api.surfaces import SURFACES
from config import gunicorn
from tests.portal.url_map import addresses
from tests.support.forks import ROOT

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
COMPOSE_ENVIRONMENT: dict[str, str] = COMPOSE["services"]["api"]["environment"]
UNITS = sorted((ROOT / "platform/ops/systemd").glob("*.service"))
FOLDER = ROOT / "platform/ops/kubernetes"
KUSTOMIZATION = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
# Of containers that only compose has, and what compose builds its URLs from.
ONLY_COMPOSE = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "PAGES_CONCURRENCY"}


def variables_of(path: Path) -> set[str]:
    return set(re.findall(r"^([A-Z_]+)=", path.read_text(), re.M))


def documented_variables() -> set[str]:
    """Return the names in the manual's table of settings."""
    manual = (ROOT / "platform/docs/operations.md").read_text()
    table = manual.partition("## Settings")[2].partition("\n### ")[0]
    return {
        name
        for row in re.findall(r"^\| (`[^|]*) \|", table, re.M)
        for name in re.findall(r"`([A-Z_]+)`", row)
    }


# systemd


def unit(path: Path) -> Any:
    # A key may come more than once, as Environment does.
    parsed = configparser.RawConfigParser(strict=False, delimiters=("=",))
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(path.read_text())
    return parsed


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_is_hardened_and_stops_in_good_order(path: Path) -> None:
    service = unit(path)["Service"]
    assert service["User"] == "tollgate"
    assert service["EnvironmentFile"] == "/etc/tollgate/environment"
    for key in ("NoNewPrivileges", "ProtectHome", "PrivateTmp"):
        assert service[key] == "yes"
    assert service["ProtectSystem"] == "strict"
    assert int(service["TimeoutStopSec"]) > gunicorn.graceful_timeout
    program = service["ExecStart"].split()[0]
    assert program in {f"/srv/tollgate/.venv/bin/{name}" for name in ("gunicorn", "celery")}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_units_variables_are_the_products(path: Path) -> None:
    lines = re.findall(r"^Environment=(.*)$", path.read_text(), re.M)
    names = set(re.findall(r"([A-Z_]+)=", " ".join(lines)))
    assert names
    assert names <= documented_variables()
    assert {"SPOOL_DIR", "SPOOL_FALLBACK_DIR"} <= names
    assert "SERVES" in names or "worker" in path.name


def test_api_and_pages_are_units_of_their_own_and_the_worker_has_beat() -> None:
    commands = {path.name: unit(path)["Service"]["ExecStart"] for path in UNITS}
    assert set(commands) == {
        "tollgate-api@.service",
        "tollgate-pages@.service",
        "tollgate-worker.service",
    }
    assert " -B " in commands["tollgate-worker.service"]
    assert "SERVES=api" in UNITS[0].read_text()
    assert "SERVES=pages" in UNITS[1].read_text()


# Kubernetes


def manifests() -> list[Any]:
    found = []
    for name in KUSTOMIZATION["resources"]:
        found += list(yaml.safe_load_all((FOLDER / name).read_text()))
    return found


def pods() -> dict[str, Any]:
    """Return the pods' specifications by their workload's name."""
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in manifests()
        if each["kind"] in {"Deployment", "Job"}
    }


def test_every_manifest_is_listed() -> None:
    assert {*KUSTOMIZATION["resources"], "kustomization.yaml"} == {
        path.name for path in FOLDER.glob("*.yaml")
    }
    assert set(pods()) == {"migrate", "api", "pages", "worker"}


@pytest.mark.parametrize("name", ["migrate", "api", "pages", "worker"])
def test_a_pod_is_not_root_and_writes_nowhere_else(name: str) -> None:
    pod = pods()[name]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    (container,) = pod["containers"]
    rights = container["securityContext"]
    assert rights["readOnlyRootFilesystem"] is True
    assert rights["allowPrivilegeEscalation"] is False
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert container["image"] == KUSTOMIZATION["images"][0]["name"]
    mounted = {each["name"] for each in container["volumeMounts"]}
    assert mounted == {each["name"] for each in pod["volumes"]}
    if name in {"api", "worker"}:
        assert {"spool", "spare-spool"} <= mounted
    assert pod["terminationGracePeriodSeconds"] > gunicorn.graceful_timeout + 5


def test_the_user_is_the_images() -> None:
    image = (ROOT / "platform/docker/Dockerfile").read_text()
    (uid,) = re.findall(r"useradd --system --uid (\d+)", image)
    assert {pod["securityContext"]["runAsUser"] for pod in pods().values()} == {int(uid)}


def test_a_pod_runs_what_compose_runs() -> None:
    for name in ("worker", "migrate"):
        (container,) = pods()[name]["containers"]
        assert container["command"] == COMPOSE["services"][name]["command"].split()
    for name in ("api", "pages"):
        (container,) = pods()[name]["containers"]
        assert "command" not in container, "the image's own"
        assert container["env"] == [{"name": "SERVES", "value": name}]


def test_the_variables_are_those_of_compose() -> None:
    settings = variables_of(FOLDER / "settings.env")
    secrets = variables_of(FOLDER / "secrets.env.example")
    assert not settings & secrets
    example = variables_of(ROOT / ".env.example")
    from_compose = set(COMPOSE_ENVIRONMENT) - {"SERVES"}
    assert settings | secrets == (example | from_compose | {"HOST"}) - ONLY_COMPOSE
    assert settings | secrets <= documented_variables()
    (generator,) = KUSTOMIZATION["secretGenerator"]
    assert generator["envs"] == ["secrets.env"]
    assert not (FOLDER / "secrets.env").exists(), "secrets are not part of the repository"


def test_each_path_is_routed_to_the_process_that_serves_it() -> None:
    (ingress,) = [each for each in manifests() if each["kind"] == "Ingress"]
    (rule,) = ingress["spec"]["rules"]
    services = {each["path"]: each["backend"]["service"]["name"] for each in rule["http"]["paths"]}

    def served_by(path: str) -> str:
        # A prefix matches whole segments, and the longest wins (Kubernetes, "Ingress").
        fitting = [each for each in services if f"{path}/".startswith(f"{each.rstrip('/')}/")]
        return services[max(fitting, key=len)]

    for surface in SURFACES:
        for operation in OPERATIONS.values():
            for template in (operation.path, *operation.also_at):
                if not operation.is_served_at(surface):
                    continue
                path = surface.mount + re.sub(r"\{\w+\}", "name", template)
                assert match(path) is not None
                assert served_by(path) == "api", path
    pages = [reverse(name) for name, arguments in addresses().items() if not arguments]
    assert {"/", "/status", "/webhooks/stripe"} <= set(pages)
    for path in (*pages, "/admin/", "/api/manage/v1/keys", "/metrics"):
        assert match(path) is None, path
        assert served_by(path) == "pages", path


@pytest.mark.skipif(
    shutil.which("kubectl") is None,
    reason="kubectl is not installed: apt-get install kubernetes-client (Debian 13 or later)",
)
def test_kustomize_builds_them(tmp_path: Path) -> None:
    shutil.copytree(FOLDER, tmp_path / "kubernetes")
    example = (FOLDER / "secrets.env.example").read_text()
    (tmp_path / "kubernetes/secrets.env").write_text(example)
    done = subprocess.run(
        ["kubectl", "kustomize", str(tmp_path / "kubernetes")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    built = list(yaml.safe_load_all(done.stdout))
    kinds = {each["kind"] for each in built}
    assert {"Deployment", "Job", "Service", "Ingress", "ConfigMap", "Secret"} <= kinds
    images = {
        container["image"]
        for each in built
        if each["kind"] in {"Deployment", "Job"}
        for container in each["spec"]["template"]["spec"]["containers"]
    }
    assert images == {"registry.example.com/tollgate:0.1.0"}
