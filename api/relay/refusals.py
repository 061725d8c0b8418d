"""What an upstream's error status means: whose fault it is, and what of it the client is told."""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from api.relay.faults import AttemptError

MAX_RETRY_AFTER_SECONDS = 600
_LONGEST_QUOTE = 600
_TRANSIENT = frozenset({408, 409, 425})
_MISCONFIGURED = frozenset({401, 402, 403})
# Upstreams quote keys, addresses and organisations in their messages.
_SECRETS = re.compile(r"(?i)\b(?:sk|pk|key|bearer|org|proj)[-_ ][\w*.…-]{6,}|https?://\S+")


def fault_of_status(status: int, headers: Mapping[str, str], body: bytes) -> AttemptError:
    """Returns the fault that an upstream's answer of this status is."""
    detail = f"HTTP {status}"
    if status == 429:
        return AttemptError(
            "limited", detail, status=status, retry_after_seconds=retry_after_seconds(headers)
        )
    if status >= 500 or status in _TRANSIENT:
        return AttemptError("failed", detail, status=status)
    if status in _MISCONFIGURED or status < 400:
        return AttemptError("misconfigured", detail, status=status)
    message, param = told(body)
    return AttemptError(
        "refused", f"{detail}: {message}", status=status, message=message, param=param
    )


def retry_after_seconds(headers: Mapping[str, str]) -> int | None:
    """Returns how long an upstream asks us to wait (RFC 9110, 10.2.3), within ten minutes."""
    text = headers.get("retry-after", "")
    try:
        seconds = float(text)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds()
        except (ValueError, TypeError):
            return None
    if not math.isfinite(seconds):
        return None
    return max(1, min(math.ceil(seconds), MAX_RETRY_AFTER_SECONDS))


def told(body: bytes) -> tuple[str, str | None]:
    """Returns the message and the param in an upstream's error, fit to be shown."""
    try:
        answer: Any = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return "", None
    error = answer.get("error", answer) if isinstance(answer, dict) else None
    if isinstance(error, str):
        return _cleaned(error), None
    if not isinstance(error, dict):
        return "", None
    message, param = error.get("message"), error.get("param")
    return (
        _cleaned(message) if isinstance(message, str) else "",
        param if isinstance(param, str) else None,
    )


def _cleaned(message: str) -> str:
    return _SECRETS.sub("…", message[:_LONGEST_QUOTE]).replace("\0", "")
