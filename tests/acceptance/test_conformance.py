"""The OpenAPI document and the running service agree, as schemathesis finds by trying.

Its hooks (`schemathesis_hooks.py`) name real models and keys, so that it comes beyond 404.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.acceptance.services import Service
from tests.support.sampling import IN_CI, half_of, one_of

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
)
CHAT = "/chat/completions"
# What is served and charged, and what its usage records call it.
PAID = {
    CHAT: "chat_completions",
    "/completions": "completions",
    "/images/generations": "images_generations",
    "/videos/generations": "videos",
}


def conform(service: Service, tmp_path: Path, url: str, key: str, *options: str, **env: str) -> str:
    """Run schemathesis against the service; fails where it finds a contradiction."""
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", f"{service.url}/openapi.json",
        "--url", url, "--header", f"Authorization: Bearer {key}", "--checks", ",".join(CHECKS),
        "--seed", "7", "--generation-database", "none",
        "--no-color", *options,
    ]  # fmt: skip
    environment = {
        **os.environ,
        "SCHEMATHESIS_HOOKS": "tests.acceptance.schemathesis_hooks",
        "PYTHONPATH": str(Path(__file__).resolve().parents[2]),
        **env,
    }
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment
    )
    assert done.returncode == 0, done.stdout[-8_000:] + done.stderr[-2_000:]
    return done.stdout


def _relay_paths(service: Service) -> list[str]:
    """Return the documented paths outside the management API."""
    with service.client() as http:
        documented = http.get("/openapi.json").json()["paths"]
    return [
        path
        for path, operations in documented.items()
        if not any("Management" in operation["tags"] for operation in operations.values())
    ]


def phases_of(name: str) -> str:
    """Return schemathesis's phases: the documented examples, and in CI both others, elsewhere one
    of them at random.
    """
    return ",".join(["examples", *one_of(name, "coverage", "fuzzing")])


@pytest.mark.parametrize(
    ("mount", "phases", "examples"),
    [
        ("/v1", phases_of("the relay"), "15" if IN_CI else "5"),
        ("/ide/v1", "examples,fuzzing", "5" if IN_CI else "2"),
    ],
)
def test_the_relay_answers_as_documented(default, tmp_path, mount, phases, examples) -> None:
    others = [path for path in _relay_paths(default) if path != CHAT]
    paths = [CHAT, *half_of("the relay's paths", others)]
    options = ["--exclude-tag", "Management", "--phases", phases, "--max-examples", examples]
    options += [word for path in paths for word in ("--include-path", path)]
    began_at = default.stack.sql("SELECT now()")[0][0]
    conform(default, tmp_path, default.url + mount, default.key, *options)
    # It did come beyond the refusals.
    served = default.stack.sql(
        "SELECT endpoint FROM billing_usagerecord WHERE created_at > %s AND status = 200"
        " UNION SELECT 'videos' FROM api_videojob WHERE created_at > %s AND upstream_job_id <> ''",
        began_at,
        began_at,
    )
    paid = {endpoint for path, endpoint in PAID.items() if path in paths}
    assert paid <= {endpoint for (endpoint,) in served}


def test_the_management_api_answers_as_documented(
    default, manager, management_key: str, tmp_path
) -> None:
    made = manager.post("/api/manage/v1/keys", json={"name": "to be changed"}).json()
    phases = phases_of("the management API")
    examples = "10" if IN_CI else "4"
    options = ("--include-tag", "Management", "--phases", phases, "--max-examples", examples)
    conform(default, tmp_path, default.url, management_key, *options, KEY_ID=str(made["id"]))
