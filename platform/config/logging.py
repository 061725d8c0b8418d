"""Logs: one event a line, through structlog, with API keys masked whoever logs them."""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

# Anything shaped like a key: a prefix with a dash, then 38 base62 characters (accounts/keys.py).
_KEY = re.compile(r"\b([A-Za-z0-9]+-(?:[A-Za-z0-9]+-)?)[0-9A-Za-z]{34}([0-9A-Za-z]{4})\b")
_BEARER = re.compile(r"(?i)(bearer\s+)\S+")


def mask_secrets(text: str) -> str:
    """Returns the text with API keys and bearer tokens reduced to prefix and last four."""
    return _BEARER.sub(r"\1…", _KEY.sub(r"\1…\2", text))


def _mask_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {
        name: mask_secrets(value) if isinstance(value, str) else value
        for name, value in event.items()
    }


def configure_logging(*, level: str, as_json: bool) -> None:
    """Sends structlog's and the standard library's events to stderr.

    `level` is a standard level's name; `as_json` gives one JSON object a line, for collectors.
    """
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso"),
        structlog.processors.format_exc_info,
        _mask_event,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer()
        if as_json
        else structlog.dev.ConsoleRenderer(colors=False)
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    # A line for each of its calls would be one for each look at a video.
    logging.getLogger("httpx").setLevel(logging.WARNING)
