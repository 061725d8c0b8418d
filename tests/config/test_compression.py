"""Static files are compressed once, when they are collected."""

import gzip
from pathlib import Path
from typing import Any

from django.contrib.staticfiles import finders
from django.core.management import call_command


def test_collected_files_have_a_compressed_twin(tmp_path: Path, settings: Any) -> None:
    settings.STATIC_ROOT = str(tmp_path)
    call_command("collectstatic", interactive=False, verbosity=0)
    for name in ("css/components.css", "js/site.js", "vendor/chartjs/chart.umd.min.js"):
        source = finders.find(name)
        assert isinstance(source, str)
        twin = tmp_path / f"{name}.gz"
        assert gzip.decompress(twin.read_bytes()) == Path(source).read_bytes()
        assert twin.stat().st_size < Path(source).stat().st_size / 2
