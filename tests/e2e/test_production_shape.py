"""Pages and API in processes of their own, behind the shipped nginx."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from local.child import Child
from tests.config.nginx import nginx
from tests.stack import Stack, chat, free_port, running
from tests.support.forks import ROOT
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with running(tmp_path_factory.mktemp("shape"), SERVES="api") as started:
        yield started


@pytest.fixture
def pages(stack: Stack) -> Iterator[tuple[Child, int]]:
    port = free_port()
    child = Child(
        "pages",
        ["gunicorn", "-c", "platform/config/gunicorn.py", "config.asgi:application"],
        log=stack.folder / "pages.log",
        env=stack.environment | {"SERVES": "pages", "PORT": str(port)},
        grace=30,
        cwd=ROOT,
    )
    child.start()

    def answers() -> bool:
        try:
            return httpx.get(f"http://127.0.0.1:{port}/robots.txt").status_code == 200
        except httpx.TransportError:
            return False

    try:
        eventually(answers, seconds=60, what="the pages do not answer")
        yield child, port
    finally:
        child.stop()


def test_the_api_goes_on_while_the_pages_are_down(
    stack: Stack, pages: tuple[Child, int], tmp_path: Path
) -> None:
    child, port = pages
    key = stack.customer("shape@example.com")
    with nginx(tmp_path, {"pages": port, "api": stack.port}) as address:
        headers = {"authorization": f"Bearer {key}"}
        url = f"{address}/v1/chat/completions"
        assert "Tollgate" in httpx.get(f"{address}/").text
        assert httpx.get(f"{address}/docs", follow_redirects=True).status_code == 200
        assert httpx.post(url, json=chat(), headers=headers, timeout=30).status_code == 200
        assert httpx.get(f"{stack.base_url}/").status_code == 421
        child.stop()
        assert httpx.get(f"{address}/").status_code == 502
        assert httpx.post(url, json=chat(), headers=headers, timeout=30).status_code == 200
