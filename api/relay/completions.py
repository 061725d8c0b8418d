"""`POST …/completions`, the legacy endpoint: a text instead of messages, else a chat's way."""

from api.completion_requests import parse_completion_body
from api.relay.admission import admit
from api.relay.call import Call
from api.relay.chat import read_body, run_exchange
from api.relay.exchange import Exchange
from api.relay.plan import plan_completion
from api.relay.relay import Relay


async def completions(relay: Relay, call: Call) -> None:
    """Answers a text completion. Raises an error of `api.errors` while nothing is reserved."""
    digests = call.key_digests()
    body = await read_body(relay, call, digests, parse_completion_body)
    plan, verdict = await admit(
        relay, call, digests, lambda snapshot: plan_completion(snapshot, call.surface, body)
    )
    await run_exchange(relay, call, Exchange(relay.gate, call, plan, verdict))
