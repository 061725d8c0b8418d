"""The bodies of upstreams' errors, in all their forms, and what of them clients may read."""

import re
from typing import Any, NamedTuple

import msgspec

_LONGEST_QUOTE = 600
# Upstreams quote keys, addresses and organisations in their messages.
_SECRETS = re.compile(r"(?i)\b(?:sk|pk|key|bearer|org|proj)[-_ ][\w*.…-]{6,}|https?://\S+")


class ErrorReport(NamedTuple):
    """What an upstream's error says, unredacted: the message, the parameter's place, the code."""

    message: str = ""
    param: str | None = None
    code: str = ""


def error_report(body: bytes) -> ErrorReport:
    """Return what the body of an upstream's error says, unredacted."""
    try:
        return report_of(msgspec.json.decode(body))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ErrorReport()


def report_of(answer: Any) -> ErrorReport:
    """Return what a decoded error says, unredacted.

    Beside OpenAI's and Anthropic's `{"error": {…}}` there are lists of it (Gemini), a text for the
    object, the object's members alone, and `detail`, a text or a list of places (FastAPI).
    """
    if isinstance(answer, list):
        answer = answer[0] if answer else None
    if not isinstance(answer, dict):
        return ErrorReport()
    error = answer.get("error") or answer
    if isinstance(error, str):
        return ErrorReport(error, code=_first_text(answer, "code", "type"))
    if not isinstance(error, dict):
        return ErrorReport()
    if (detail := error.get("detail")) and "message" not in error:
        return _detailed(detail)
    return ErrorReport(
        _first_text(error, "message", "msg"),
        _first_text(error, "param") or None,
        _first_text(error, "code", "type", "status") or _number(error.get("code")),
    )


def _first_text(error: dict[str, Any], *names: str) -> str:
    """Return the first of the members that is a text, or an empty one."""
    return next((error[name] for name in names if isinstance(error.get(name), str)), "")


def _number(code: object) -> str:
    return str(code) if type(code) is int else ""


def _detailed(detail: object) -> ErrorReport:
    """Return what FastAPI's `detail` says: a text, or a list of places and messages."""
    if isinstance(detail, str):
        return ErrorReport(detail)
    messages, param = [], None
    for item in detail if isinstance(detail, list) else [detail]:
        if isinstance(item, dict) and (message := _first_text(item, "msg", "message")):
            place = item.get("loc")
            # The first part says that it is the body's.
            path = ".".join(map(str, place[1:])) if isinstance(place, list) else ""
            param = param or path or None
            messages.append(f"{path}: {message}" if path else message)
    return ErrorReport("; ".join(messages), param)


def redacted(message: str) -> str:
    """Return an upstream's message fit for clients: cut, without keys, addresses and NUL."""
    return _SECRETS.sub("…", message[:_LONGEST_QUOTE]).replace("\0", "")
