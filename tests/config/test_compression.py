"""Static files are compressed and named by their content once, when they are collected."""

import gzip
import re
from pathlib import Path
from typing import Any

import brotli
import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.http import HttpResponse
from django.templatetags.static import static
from django.test import Client, RequestFactory
from whitenoise.middleware import WhiteNoiseMiddleware

from accounts.models import User
from tests.cast import signed_in

NAME = re.compile(r"/static/([\w./-]+)")
HASHED = re.compile(r"\.[0-9a-f]{12}\.\w+$")


@pytest.fixture
def collected(tmp_path: Path, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Collect the files as an installation does, and return the folder."""
    monkeypatch.delenv("DEVELOPMENT", raising=False)
    settings.STATIC_ROOT = str(tmp_path)
    call_command("collectstatic", interactive=False, verbosity=0)
    settings.STATIC_ROOT = str(tmp_path)  # the storage reads what was collected when it is made
    return tmp_path


def test_collected_files_have_a_compressed_twin(collected: Path) -> None:
    for name in ("css/components.css", "js/site.js", "vendor/highlight/highlight.min.js"):
        source = finders.find(name)
        assert isinstance(source, str)
        twin = collected / f"{name}.gz"
        assert gzip.decompress(twin.read_bytes()) == Path(source).read_bytes()
        assert twin.stat().st_size < Path(source).stat().st_size / 2
        smaller = collected / f"{name}.br"
        assert brotli.decompress(smaller.read_bytes()) == Path(source).read_bytes()
        assert smaller.stat().st_size < twin.stat().st_size


def test_a_browser_gets_the_smallest_that_it_takes(collected: Path) -> None:
    middleware = WhiteNoiseMiddleware(lambda _request: HttpResponse(status=404))
    for accepted, sent in (("gzip, deflate, br", "br"), ("gzip", "gzip"), ("", None)):
        request = RequestFactory(HTTP_ACCEPT_ENCODING=accepted).get(static("css/base.css"))
        assert middleware(request).get("Content-Encoding") == sent


@pytest.mark.django_db
def test_pages_are_compressed_and_padded_at_random(client: Client) -> None:
    whole = client.get("/docs/models")
    packed = [client.get("/docs/models", HTTP_ACCEPT_ENCODING="gzip, br") for _ in range(4)]
    assert "Content-Encoding" not in whole
    assert {answer["Content-Encoding"] for answer in packed} == {"gzip"}
    assert "Accept-Encoding" in packed[0]["Vary"]
    assert gzip.decompress(packed[0].content)[:200] == whole.content[:200]
    assert len(packed[0].content) < len(whole.content) / 2
    assert packed[0].content[3] & 8  # a file name of random length (RFC 1952, FNAME)


@pytest.mark.django_db
def test_pages_name_collected_files_by_their_content(collected: Path, client: Client) -> None:
    for path in ("/", "/docs/models", "/docs", "/status", "/accounts/login/"):
        names = NAME.findall(client.get(path).content.decode())
        assert len(names) > 5, path
        for name in names:
            assert HASHED.search(name), f"{path}: {name}"
            assert (collected / name).is_file(), f"{path}: {name}"


@pytest.mark.django_db
def test_a_cold_dashboard_is_small(collected: Path, alice: User) -> None:
    browser = signed_in(alice)
    page = browser.get("/dashboard", HTTP_ACCEPT_ENCODING="gzip")
    names = set(NAME.findall(gzip.decompress(page.content).decode()))
    fonts = [*collected.glob("fonts/inter.????????????.woff2")]
    fonts += collected.glob("fonts/jetbrains-mono.????????????.woff2")
    assert len(fonts) == 2
    files = [collected / f"{name}.br" for name in names if name.endswith((".css", ".js", ".svg"))]
    files += fonts
    assert len(files) > 12
    # With the headers of as many answers, which are a third of a kilobyte each, it is below 120 KB.
    assert len(page.content) + sum(file.stat().st_size for file in files) < 110_000


def test_scripts_and_styles_name_each_other_by_their_content(collected: Path) -> None:
    found = 0
    for folder, mention in (("js", r'from "(\.[^"]+)"'), ("css", r'url\("(\.[^"]+)"\)')):
        for path in collected.joinpath(folder).rglob(f"*.{folder}"):
            for name in re.findall(mention, path.read_text()) if HASHED.search(path.name) else ():
                found += 1
                assert HASHED.search(name), path
                assert path.parent.joinpath(name).resolve().is_file(), path
    assert found > 10


def test_browsers_keep_them_for_good(collected: Path) -> None:
    middleware = WhiteNoiseMiddleware(lambda _request: HttpResponse(status=404))
    url = static("css/base.css")
    answer = middleware(RequestFactory().get(url))
    assert HASHED.search(url)
    assert answer.status_code == 200
    assert "immutable" in answer["Cache-Control"]
    plain = middleware(RequestFactory().get("/static/css/base.css"))
    assert "immutable" not in plain["Cache-Control"]


def test_without_collected_files_names_are_plain(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    assert static("css/base.css") == "/static/css/base.css"
    assert static("no/such.css") == "/static/no/such.css"
