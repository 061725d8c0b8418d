"""Pages and static files are sent compressed to browsers that take it."""

import gzip
from pathlib import Path
from typing import Any

import pytest
from django.contrib.staticfiles import finders
from django.core.management import call_command
from django.test import Client


@pytest.mark.django_db
def test_a_page_is_compressed_if_the_browser_takes_it(client: Client) -> None:
    plain = client.get("/docs/errors")
    assert "Content-Encoding" not in plain
    packed = client.get("/docs/errors", headers={"accept-encoding": "gzip, br"})
    assert packed["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed["Vary"]
    assert len(packed.content) < len(plain.content) / 2
    assert b"All errors" in gzip.decompress(packed.content)


def test_collected_files_have_a_compressed_twin(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    call_command("collectstatic", interactive=False, verbosity=0)
    for name in ("css/components.css", "js/site.js", "vendor/chartjs/chart.umd.min.js"):
        source = finders.find(name)
        assert isinstance(source, str)
        twin = tmp_path / f"{name}.gz"
        assert gzip.decompress(twin.read_bytes()) == Path(source).read_bytes()
        assert twin.stat().st_size < Path(source).stat().st_size / 2
