"""A log that can't be written, as on a full disk, fails no request (reliability.md, fault 39)."""

import errno
import io
import logging
import sys

import pytest
import structlog

from config.logging import configure_logging
from tests.api.gateway.upstream import answer
from tests.api.gateway.world import World, in_loop


class FullDisk(io.StringIO):
    """A file on a disk without room."""

    tries = 0

    def write(self, text: str) -> int:
        self.tries += 1
        raise OSError(errno.ENOSPC, "No space left on device")


@in_loop
async def test_a_request_is_answered_and_settled_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    full, root = FullDisk(), logging.getLogger()
    handlers, level, configuration = root.handlers, root.level, structlog.get_config()
    monkeypatch.setattr(sys, "stderr", full)
    try:
        configure_logging(level="INFO", as_json=True)
        structlog.configure(**{**structlog.get_config(), "cache_logger_on_first_use": False})
        async with World(answer({"error": {"message": "No such key."}}, 401)) as world:
            reply = await world.chat("Hello!")
            settled = world.gate.only
    finally:
        root.handlers, root.level = handlers, level
        structlog.configure(**configuration)
    assert full.tries > 0
    assert reply.status == 502
    assert (settled.outcome, settled.source) == ("upstream_error", "none")
