"""The wire formats that clients and upstreams speak. A new one is a module here and a line below.

An operation names the dialect of its clients, and an upstream's row the dialect of the upstream.
"""

from api.dialects.base import Dialect
from api.dialects.openai_chat import CHAT
from api.dialects.openai_completions import COMPLETIONS

DIALECTS: dict[str, Dialect] = {each.name: each for each in (CHAT, COMPLETIONS)}


def link(downstream: Dialect, upstream_name: str) -> Dialect | None:
    """Return the dialect to call an upstream in for a client's dialect, or None if there is none.

    `upstream_name` is what the upstream's row names. An upstream of OpenAI's family takes each of
    the family's dialects; any other takes its own.
    """
    upstream = DIALECTS.get(upstream_name)
    if upstream is not None and upstream.name in {downstream.name, downstream.family}:
        return downstream
    return None
