"""The production shape in docker-compose.yml: what its containers may do, and whom they reach."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from django.conf import settings

from config import gunicorn
from local.postgres import _programs
from local.valkey import _program
from tests.support import fresh_programs
from tests.support.forks import ROOT
from tests.support.waiting import eventually

COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
EXAMPLE = (ROOT / ".env.example").read_text()
IMAGE = (ROOT / "platform/docker/Dockerfile").read_text()
WEB_COMMAND = json.loads(re.findall(r"^CMD (.*)$", IMAGE, re.MULTILINE)[0])


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_writes_nowhere_and_gains_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "cap_add" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "/tmp" in service["tmpfs"]


def test_no_container_runs_as_root() -> None:
    assert re.search(r"^USER tollgate$", IMAGE, re.MULTILINE)
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


SPOOLS = {"SPOOL_DIR": "spool", "SPOOL_FALLBACK_DIR": "spare-spool"}


@pytest.mark.parametrize("name", ["api", "worker"])
def test_each_spool_is_a_volume_of_its_own_which_writer_and_worker_share(name: str) -> None:
    service = SERVICES[name]
    mounted = dict(volume.split(":") for volume in service["volumes"])
    for variable, volume in SPOOLS.items():
        assert mounted[volume] == service["environment"][variable]
        assert volume in COMPOSE["volumes"]


def test_the_image_makes_each_spool_as_its_user_s() -> None:
    """A volume that is mounted on a folder of the image takes its owner over."""
    (made,) = re.findall(r"install -d -o tollgate -g tollgate (.*)", IMAGE)
    assert set(made.split()) == {SERVICES["api"]["environment"][variable] for variable in SPOOLS}


def test_the_time_to_stop_is_longer_than_gunicorn_takes() -> None:
    """Docker kills what is left, and only the sweep ends the holds of what was killed."""
    for name in ("api", "pages"):
        patience = int(SERVICES[name]["stop_grace_period"].removesuffix("s"))
        assert patience > gunicorn.graceful_timeout


def test_nginx_asks_the_port_that_the_image_listens_on() -> None:
    bind = WEB_COMMAND[WEB_COMMAND.index("--bind") + 1]
    proxy = (ROOT / "platform/docker/nginx.conf").read_text()
    assert re.findall(r"server (?:api|pages):(\d+);", proxy) == [bind.rpartition(":")[2]] * 2


@pytest.mark.parametrize(
    "command",
    [
        [*WEB_COMMAND, "--check-config"],
        [*SERVICES["worker"]["command"].split(" worker ")[0].split(), "report"],
        [*SERVICES["migrate"]["command"].split(), "--plan"],
    ],
    ids=["web", "worker", "migrate"],
)
def test_what_a_container_runs_can_be_loaded(command: list[str]) -> None:
    """The settings and the application behind gunicorn, Celery and manage.py are where it says."""
    command = command[1:] if command[0] == "python" else command
    code, said, complained = fresh_programs.run(command, os.environ)
    assert code == 0, said + complained


def test_the_example_names_every_variable_that_compose_needs() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    needed = set(re.findall(r"\$\{([A-Z_]+):\?\}", text))
    assert needed <= set(re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    assert needed == {"POSTGRES_PASSWORD", "VALKEY_PASSWORD"}


def test_valkey_started_as_compose_does_answers_its_health_check_alone(tmp_path: Path) -> None:
    """The password comes from stdin, and without it nobody gets an answer."""
    shell, option, text = SERVICES["valkey"]["command"]
    options = "--port 0 --unixsocket valkey.socket --save ''"
    command = text.replace("$$", "$").replace("valkey-server -", f"{_program()} - {options}")
    names = {"VALKEY_PASSWORD": "f00d", "PATH": os.environ["PATH"]}
    process = subprocess.Popen([shell, option, command], env=names, cwd=tmp_path)
    place = os.path.relpath(tmp_path / "valkey.socket")  # a socket's path is at most 107 bytes
    try:
        check = SERVICES["valkey"]["healthcheck"]["test"]
        assert check == ["CMD-SHELL", "valkey-cli ping | grep -q PONG"]
        assert SERVICES["valkey"]["environment"]["REDISCLI_AUTH"] == "${VALKEY_PASSWORD:?}"
        allowed = redis.Redis(unix_socket_path=place, password="f00d")
        eventually((tmp_path / "valkey.socket").exists)
        assert allowed.ping()
        with pytest.raises(redis.exceptions.AuthenticationError):
            redis.Redis(unix_socket_path=place).ping()
    finally:
        process.terminate()
        process.wait(20)


def test_postgresqls_health_check_tells_a_server_that_answers(tmp_path: Path) -> None:
    kind, program, *arguments = SERVICES["postgres"]["healthcheck"]["test"]
    assert kind == "CMD"
    database = settings.DATABASES["default"]
    codes = []
    for host in (str(database["HOST"]), str(tmp_path)):
        names = {"PGHOST": host, "PGPORT": str(database["PORT"] or 5432)}
        done = subprocess.run([f"{_programs()}/{program}", *arguments], env=names, check=False)
        codes.append(done.returncode)
    # pg_isready's manual: 0 accepts connections, 2 no response.
    assert codes == [0, 2]


def _has_compose() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    done = subprocess.run([docker, "compose", "version"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.mark.skipif(
    not _has_compose(),
    reason="docker compose is not installed: apt-get install docker-cli docker-compose (Debian 13)",
)
def test_docker_compose_accepts_the_file(tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / ".env").write_text(
        re.sub(r"^((?:POSTGRES|VALKEY)_PASSWORD)=.*$", r"\1=f00d", EXAMPLE, flags=re.MULTILINE)
    )
    command = ["docker", "compose", "--project-directory", str(tmp_path), "config"]
    done = subprocess.run(
        [*command, "--format", "json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert set(json.loads(done.stdout)["services"]) == set(SERVICES)
