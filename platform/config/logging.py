"""Logging: one event a line, through structlog, with secrets masked in all of them."""

import logging
import sys
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from accounts.masking import mask_secrets


def _mask_event(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    return {name: _masked(value) for name, value in event.items()}


def _masked(value: Any) -> Any:
    """Return a value with its secrets masked, however deeply nested."""
    if isinstance(value, bytes):
        value = value.decode(errors="replace")
    if isinstance(value, BaseException):
        value = repr(value)
    if isinstance(value, str):
        return mask_secrets(value)
    if isinstance(value, Mapping):
        return {_masked(name): _masked(each) for name, each in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(each) for each in value]
    return value


def configure_logging(*, level: str, as_json: bool) -> None:
    """Send structlog's and the standard library's events to stderr.

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
    # They log each call: a line for every poll of a video or a payment.
    for name in ("httpx", "stripe"):
        logging.getLogger(name).setLevel(logging.WARNING)
