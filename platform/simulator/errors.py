"""The one exception of the simulator, and OpenAI's envelope for it."""

from typing import Any

# status -> (type, code): what OpenAI-compatible providers say with each status.
_KINDS = {
    400: ("invalid_request_error", "invalid_request"),
    401: ("invalid_request_error", "invalid_api_key"),
    402: ("insufficient_quota", "insufficient_quota"),
    403: ("permission_error", "access_denied"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    413: ("invalid_request_error", "payload_too_large"),
    429: ("rate_limit_error", "rate_limit_exceeded"),
    503: ("service_unavailable_error", "service_unavailable"),
}
_OTHER = ("server_error", "server_error")


class SimulatedError(Exception):
    """An error answer: a fault of the request, or one that a script asked for."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str = "",
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.code = code
        self.headers = headers


def error_code(error: SimulatedError) -> str:
    """Return OpenAI's code of an error: its own, or what its status says."""
    return error.code or _KINDS.get(error.status, _OTHER)[1]


def error_body(error: SimulatedError) -> dict[str, Any]:
    """Return OpenAI's envelope of an error."""
    kind, _ = _KINDS.get(error.status, _OTHER)
    if error.code == "insufficient_quota":
        kind = error.code
    details = {"message": error.message, "type": kind, "param": error.param}
    return {"error": details | {"code": error_code(error)}}
