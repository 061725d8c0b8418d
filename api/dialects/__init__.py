"""The wire formats that clients and upstreams speak. A new one is a module here and a line below.

An operation names the dialect of its clients, and an upstream's row the dialect of the upstream.
"""

from functools import cache

from api.dialects.anthropic_messages import MESSAGES
from api.dialects.base import Dialect
from api.dialects.bridge import bridge
from api.dialects.openai_chat import CHAT
from api.dialects.openai_completions import COMPLETIONS
from api.dialects.openai_responses import RESPONSES

DIALECTS: dict[str, Dialect] = {
    each.name: each for each in (CHAT, COMPLETIONS, MESSAGES, RESPONSES)
}


def link(downstream: Dialect, upstream_name: str) -> Dialect | None:
    """Return the dialect to call an upstream in for a client's dialect, or None if there is none.

    `upstream_name` is what the upstream's row names. An upstream of OpenAI's family takes each of
    the family's dialects as it is, and any other by a bridge, if one can be built.
    """
    upstream = DIALECTS.get(upstream_name)
    if upstream is None:
        return None
    if upstream.name in {downstream.name, downstream.family}:
        return downstream
    if downstream.name not in DIALECTS:
        # An endpoint's own dialect, such as that of embeddings.
        return None
    return _bridge(downstream.name, upstream.name)


@cache
def _bridge(downstream: str, upstream: str) -> Dialect | None:
    return bridge(DIALECTS[downstream], DIALECTS[upstream])
