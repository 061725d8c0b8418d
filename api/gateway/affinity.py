"""Affinity: the requests of one session go to the same route and key, where its prompt is cached.

A session is known by the id that the client gives it (`admission.session_id_of`) or by the end
user, or else by how its prompt begins, up to the user's first message, which is the same in each
turn of a conversation. It is a team's own.

Routes of equal priority, and the keys of each, are ordered by weighted rendezvous hashing (Thaler
and Ravishankar, IEEE/ACM Transactions on Networking 6(1), 1998; weights as in Schindelhauer and
Schomaker, 2005).
Each session has an order of its own, every process finds the same one without any state, and a
route that is out moves its own sessions only.
"""

import math
from collections.abc import Iterator
from hashlib import blake2b
from itertools import groupby
from typing import Any

from api.catalogue.snapshot import RouteEntry
from api.gateway.settlement import AdmittedRequest

LONGEST_SESSION = 256
# Of each text of a prompt, and of each list in it.
MAX_CHARACTERS = 512
MAX_ITEMS = 8
_INSTRUCTIONS = ("system", "instructions")
_PROMPTS = ("messages", "input", "prompt")


def in_order(admitted: AdmittedRequest) -> Iterator[RouteEntry]:
    """Yield the model's routes by priority, and among equals in the session's own order.

    A route's keys follow one another.
    """
    session = b""
    for _, equals in groupby(admitted.quote.model.routes, key=lambda route: route.priority):
        routes = list(equals)
        if len(routes) > 1:
            session = session or session_of(admitted)
            routes.sort(key=lambda route: _rank(session, route), reverse=True)
        yield from routes


def session_of(admitted: AdmittedRequest) -> bytes:
    """Return a digest of the request's team and session."""
    digest = blake2b(b"%d " % admitted.admission.team_id, digest_size=16)
    digest.update(_session(admitted))
    return digest.digest()


def _session(admitted: AdmittedRequest) -> bytes:
    request = admitted.quote.request
    named = request.session_id or request.end_user or _beginning(request.fields)
    # Without any text, such as a file's, each request is a session.
    return named[: LONGEST_SESSION * MAX_ITEMS].encode(errors="replace") or (
        admitted.request_id.encode()
    )


def _beginning(fields: dict[str, Any]) -> str:
    """Return how a prompt begins: its instructions, and the texts up to the user's first."""
    parts = [_text(fields[name]) for name in _INSTRUCTIONS if name in fields]
    for name in _PROMPTS:
        prompt = fields.get(name)
        if isinstance(prompt, list):
            for item in prompt[:MAX_ITEMS]:
                parts.append(_text(item))
                if isinstance(item, dict) and item.get("role") == "user":
                    break
        elif prompt:
            parts.append(_text(prompt))
    return "\n".join(parts)


def _text(value: Any, depth: int = 3) -> str:
    """Return the beginning of the text in a message or in its parts."""
    if isinstance(value, str):
        return value[:MAX_CHARACTERS]
    if isinstance(value, dict):
        value = value.get("content") or value.get("text")
        return _text(value, depth - 1) if depth else ""
    if isinstance(value, list) and depth:
        return " ".join([_text(item, depth - 1) for item in value[:MAX_ITEMS]])
    return ""


def _rank(session: bytes, route: RouteEntry) -> tuple[float, float]:
    """Return the rank of a route, and then of its key, for a session: the highest comes first."""
    upstream = route.upstream
    own = _score(session + b"%d" % route.id, route.weight)
    if not upstream.has_other_keys:
        return own, 0.0
    return own, _score(session + b"key %d" % upstream.key_id, upstream.key_weight)


def _score(drawn_by: bytes, weight: int) -> float:
    """Return a score that is the highest as often as its weight says."""
    drawn = int.from_bytes(blake2b(drawn_by, digest_size=6).digest())
    # Between 0 and 1, and neither of them.
    return max(1, weight) / -math.log((drawn + 0.5) / 2**48)
