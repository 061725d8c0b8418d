"""Surfaces: the mounts under which the API is served, and what differs between them.

The same operations answer under every mount. What a mount changes (where reasoning goes, the error
type of a refused key, which models it serves) is a column of its row here; no code branches on a
prefix or a brand.
"""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Surface:
    """A mount and what differs there.

    `reasoning_field` names the answer's field for reasoning; None gives the answer alone.
    `owns_mount` says that every path under the mount is the API's; the root shares its paths
    with the web pages and owns only the prefixes that the operations name.
    """

    name: str
    mount: str
    reasoning_field: Literal["reasoning", "reasoning_content"] | None
    auth_error_type: Literal["authentication_error", "invalid_request_error"]
    models: Literal["all", "coding"] = "all"
    owns_mount: bool = True


SURFACES = (
    Surface("root", "", "reasoning", "authentication_error", owns_mount=False),
    Surface("v1", "/v1", "reasoning", "invalid_request_error"),
    Surface("api", "/api/v1", "reasoning_content", "invalid_request_error"),
    Surface("paas", "/api/paas/v4", "reasoning_content", "invalid_request_error"),
    Surface(
        "coding", "/api/coding/paas/v4", "reasoning_content", "invalid_request_error", "coding"
    ),
    Surface("ide", "/ide/v1", None, "authentication_error"),
)
