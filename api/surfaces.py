"""Surfaces: the mounts under which the API is served, and what differs between them.

The same endpoints answer under every mount. What a mount changes (where reasoning goes, how a
refused key is called, which models it serves) is said by its row here and read by everyone else;
no code branches on a prefix or a brand.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple
from urllib.parse import unquote


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of the API, at `path` under each mount.

    A `path` that ends in `/` takes the rest of the URL, slashes included, as its argument.
    """

    name: str
    path: str
    methods: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Surface:
    """A mount and its ways.

    `reasoning_field` names the answer's field for reasoning; None gives the answer alone.
    `owns_mount` says that every path under the mount is the API's; the root shares its paths
    with the web pages and owns only the names in `ROOT_NAMES`.
    """

    name: str
    mount: str
    reasoning_field: Literal["reasoning", "reasoning_content"] | None
    auth_error_type: Literal["authentication_error", "invalid_request_error"]
    models: Literal["all", "coding"] = "all"
    owns_mount: bool = True


class Match(NamedTuple):
    """Where a path leads: `endpoint` is None for an unknown path under an API mount."""

    surface: Surface
    endpoint: Endpoint | None
    argument: str = ""


ENDPOINTS = (
    Endpoint("chat_completions", "/chat/completions", ("POST",)),
    Endpoint("completions", "/completions", ("POST",)),
    Endpoint("chat_models", "/chat/models", ("GET", "HEAD")),
    Endpoint("models", "/models", ("GET", "HEAD")),
    Endpoint("model", "/models/", ("GET", "HEAD")),
    Endpoint("images_generations", "/images/generations", ("POST",)),
    Endpoint("videos_generations", "/videos/generations", ("POST",)),
    Endpoint("video", "/videos/", ("GET", "HEAD")),
    Endpoint("health", "/health", ("GET", "HEAD")),
)

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

# At the root, paths that start with one of these belong to the API and to no page.
ROOT_NAMES = (
    "/chat/completions",
    "/chat/models",
    "/completions",
    "/models",
    "/images",
    "/videos",
    "/health",
)

_EXACT = {
    surface.mount + endpoint.path: Match(surface, endpoint)
    for surface in SURFACES
    for endpoint in ENDPOINTS
    if not endpoint.path.endswith("/")
}
_OPEN_ENDED = tuple(endpoint for endpoint in ENDPOINTS if endpoint.path.endswith("/"))
_LONGEST_MOUNT_FIRST = sorted(SURFACES, key=lambda surface: len(surface.mount), reverse=True)


def match(path: str) -> Match | None:
    """Returns where a decoded URL path leads, or None if it is not the API's at all.

    A trailing slash is tolerated.
    """
    return _EXACT.get(path) or _match_slowly(path)


def _match_slowly(path: str) -> Match | None:
    """Matches what isn't in the table: arguments, trailing slashes, unknown paths."""
    bare = path.rstrip("/")
    if found := _EXACT.get(bare):
        return found
    for surface in _LONGEST_MOUNT_FIRST:
        if not _is_under(bare, surface.mount):
            continue
        rest = bare[len(surface.mount) :]
        for endpoint in _OPEN_ENDED:
            if rest.startswith(endpoint.path):
                # Decoded once more, for servers and clients that encode a slash twice.
                return Match(surface, endpoint, unquote(rest[len(endpoint.path) :]))
        if surface.owns_mount or any(_is_under(rest, name) for name in ROOT_NAMES):
            return Match(surface, None)
        return None
    return None


def _is_under(path: str, prefix: str) -> bool:
    return path.startswith(prefix) and (len(path) == len(prefix) or path[len(prefix)] == "/")
