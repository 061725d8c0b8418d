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
        headers: tuple[tuple[str, str], ...] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.param = param
        self.headers = headers


def error_body(message: str, *, status: int, param: str | None = None) -> dict[str, Any]:
    """Return OpenAI's error object for a status."""
    kind, code = _KINDS.get(status, _OTHER)
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}
