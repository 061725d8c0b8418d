"""The documentation's own examples, run as they stand on its pages against a running service.

Only keys and the id of a request are put in. Every example in curl and Python is run (outside CI,
those of half the pages). They are found on the pages: a new one needs no change here.
"""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path

import httpx
import pytest

from portal.docs.pages import pages
from tests.acceptance.programs import clean_environment, needs
from tests.acceptance.videos import celery
from tests.stack import Stack
from tests.support import fresh_programs
from tests.support.sampling import half_of

SECONDS = 60
EXAMPLE = re.compile(r'<code id="([^"]+)" class="language-(bash|python)">(.*?)</code></pre>', re.S)
PLACEHOLDER, MANAGEMENT = "sk-tg-YOUR_KEY", "YOUR_MANAGEMENT_KEY"
EXAMPLE_ID = "0198c2f0-a1b2-7cc8-9a55-2f1e4bd3c111"
WITHOUT_EXAMPLES = {"app-keys", "caching", "rate-limits", "pricing"}
WITHOUT_KEYS = {"webhooks"}


@pytest.fixture(scope="module", autouse=True)
def _celery(stack: Stack) -> Iterator[None]:
    with celery(stack):
        yield


@pytest.fixture(scope="module")
def key(stack: Stack) -> str:
    return stack.customer("reader@example.com", "5", requests_per_minute="100000")


@pytest.fixture(scope="module")
def filled_in(stack: Stack, key: str) -> Callable[[str], str]:
    """Return a function that puts what a reader has into an example: keys, a request's id."""
    arguments = ("reader@example.com", "--scope", "management", "--json")
    management_key = json.loads(stack.manage("create_key", *arguments))["api_key"]
    chat = {"model": "glm-5.2", "messages": [{"role": "user", "content": "Hello!"}]}
    headers = {"Authorization": f"Bearer {key}"}
    answer = httpx.post(f"{stack.base_url}/v1/chat/completions", json=chat, headers=headers)
    own = {PLACEHOLDER: key, MANAGEMENT: management_key}
    own[EXAMPLE_ID] = answer.headers["x-request-id"]

    def fill_in(text: str) -> str:
        for name, value in own.items():
            text = text.replace(name, value)
        return text

    return fill_in


# What examples that send files find beside them.
FILES = {"speech.mp3": bytes(4_000), "house.png": b"\x89PNG\r\n\x1a\n" + bytes(500)}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the files that examples send."""
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def run(language: str, text: str, folder: Path) -> str:
    """Run an example and return what it printed or wrote; fails where it fails."""
    if language == "python":
        code, printed, complained = fresh_programs.run(
            ["-c", text], clean_environment(), folder=folder
        )
    else:
        needs("curl", "curl")
        command = ["bash", "-euc", text.replace("curl ", "curl -sS --fail-with-body ", 1)]
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
            env=clean_environment(),
            cwd=folder,
        )
        code, printed, complained = done.returncode, done.stdout, done.stderr
    assert code == 0, f"{text}\n{printed}\n{complained}"
    written = [name for name, content in FILES.items() if (folder / name).read_bytes() != content]
    return printed + " ".join(written)


@pytest.mark.parametrize("slug", half_of("pages' examples", [page.slug for page in pages()]))
def test_a_pages_examples_run_as_they_stand(
    stack: Stack, filled_in: Callable[[str], str], slug: str, folder: Path
) -> None:
    page = httpx.get(f"{stack.base_url}/docs/{slug}", follow_redirects=True)
    assert page.status_code == 200
    examples = EXAMPLE.findall(page.text)
    assert bool(examples) == (slug not in WITHOUT_EXAMPLES)
    for name, language, escaped in examples:
        text = unescape(escaped)
        if "sys.argv" in text:  # a program to save; its own test runs it
            continue
        needs_key = slug not in WITHOUT_KEYS
        assert (PLACEHOLDER in text or MANAGEMENT in text) == needs_key, f"{slug}: {name}"
        printed = run(language, filled_in(text), folder)
        assert printed.strip(), f"{slug}: {name} prints nothing"


def test_the_front_pages_examples_run_as_they_stand(stack: Stack, key: str, folder: Path) -> None:
    page = httpx.get(stack.base_url).text
    examples = EXAMPLE.findall(page)
    assert [language for _, language, _ in examples] == ["bash", "python"]
    for _, language, escaped in examples:
        assert run(language, unescape(escaped).replace(PLACEHOLDER, key), folder).strip()
