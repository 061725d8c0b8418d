"""What an exchange must know of the dialect it speaks, beyond the answer itself."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from simulator.errors import SimulatedError, error_body


class Frame(NamedTuple):
    """A well-formed body cut open where its text goes, and what ends a stream after it."""

    head: bytes
    tail: bytes
    end: bytes = b""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The errors and the broken bodies of one dialect."""

    # From an error and the request's id.
    error: Callable[[SimulatedError, str], dict[str, Any]]
    plain: Frame
    stream: Frame
    # The header that carries the answer's id.
    id_header: str = "x-request-id"
    # Whether `x-api-key` is a credential.
    takes_api_key_header: bool = False


def _openai_error(error: SimulatedError, request_id: str) -> dict[str, Any]:
    return error_body(error)


OPENAI = Dialect(
    error=_openai_error,
    plain=Frame(
        b'{"id":"chatcmpl-sim-broken","choices":[{"index":0,"message":{"content":"',
        b'"},"finish_reason":null}]}',
    ),
    stream=Frame(
        b'data: {"id":"chatcmpl-sim-broken","choices":[{"index":0,"delta":{"content":"',
        b'"},"finish_reason":null}]}\n\n',
        b"data: [DONE]\n\n",
    ),
)
