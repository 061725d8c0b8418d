"""What goes wrong on the way to an answer, and how each fault is told to the client.

A fault is the relay's own word for what an upstream, a timer or a shutdown did. It says whether
another attempt makes sense, what the usage record keeps, and which error of `api.errors` the
client gets: an upstream's refusal of the request is the client's (400), its refusal of our key is
our mistake and never quoted (502).
"""

from typing import ClassVar, Literal

from api import errors

Kind = Literal[
    "connect",  # no connection: nothing was sent
    "disconnected",  # the connection ended before an answer
    "busy",  # as many calls as the upstream's row allows are under way
    "limited",  # the upstream answered 429
    "failed",  # the upstream answered 5xx, 408 or 409
    "refused",  # the upstream found fault with the client's request
    "misconfigured",  # the upstream refused our key, or a redirect
    "bad_answer",  # what came is no answer
    "incomplete",  # a stream ended before its end
    "error_event",  # a stream told of an error
    "first_token",  # a timer: nothing came in time
    "idle",  # a timer: nothing more came in time
    "total",  # a timer: it took too long as a whole
    "write",  # a timer: the client doesn't read
    "shutdown",  # we are about to stop
]

_RETRYABLE = frozenset(
    {"connect", "disconnected", "busy", "limited", "failed", "misconfigured", "first_token"}
)
# Worth another try at the same upstream, which may have had a bad moment.
_PASSING = frozenset({"connect", "disconnected", "failed"})
_TIMED_OUT = frozenset({"first_token", "idle", "total"})


class ShuttingDownError(errors.ServiceUnavailableError):
    """This process is about to stop; the next one will answer."""

    code = "server_shutting_down"
    default_message = "The server is restarting. Send the request again."
    default_headers: ClassVar[dict[str, str]] = {"Retry-After": "1"}


class UpstreamBusyError(errors.RateLimitError):
    """The model's provider takes no more for the moment."""

    default_message = (
        "The model is under high load. Wait as Retry-After says, then back off exponentially."
    )


class AttemptError(Exception):
    """An attempt that failed. `detail` is for our records, `message` for the client."""

    def __init__(
        self,
        kind: Kind,
        detail: str = "",
        *,
        status: int = 0,
        message: str = "",
        param: str | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(detail or kind)
        self.kind = kind
        self.detail = detail or kind
        self.status = status
        self.message = message
        self.param = param
        self.retry_after_seconds = retry_after_seconds

    @property
    def is_retryable(self) -> bool:
        """Whether another upstream may do better."""
        return self.kind in _RETRYABLE

    @property
    def is_passing(self) -> bool:
        """Whether the same upstream may do better the next moment."""
        return self.kind in _PASSING

    @property
    def is_overload(self) -> bool:
        """Whether it tells that the upstream has more to do than it can."""
        return self.kind in {"limited", "first_token"}

    @property
    def is_upstreams(self) -> bool:
        """Whether it tells of the upstream's health, rather than of the client or of us."""
        return self.kind not in {"refused", "busy", "write", "shutdown"}

    @property
    def outcome(self) -> str:
        """What the usage record says of a request that ended so."""
        if self.kind in _TIMED_OUT:
            return "upstream_timeout"
        if self.kind == "incomplete":
            return "upstream_incomplete"
        if self.kind == "write":
            return "client_stalled"
        if self.kind == "shutdown":
            return "server_shutting_down"
        return "upstream_error"

    def as_error(self) -> errors.ApiError:
        """Returns the error that the client is told."""
        if self.kind in _TIMED_OUT:
            return errors.UpstreamTimeoutError()
        if self.kind == "shutdown":
            return ShuttingDownError()
        if self.kind == "refused":
            return errors.InvalidRequestError(self.message or None, param=self.param)
        if self.kind in {"busy", "limited"}:
            return UpstreamBusyError(retry_after_seconds=self.retry_after_seconds or 1)
        return errors.UpstreamError()
