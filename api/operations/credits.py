"""`GET …/credits`: the credits of the key's team, as OpenRouter's and Vercel's APIs show them."""

from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from api.dialects.base import json_dollars
from api.gateway.http import ApiRequest
from api.gateway.look_ups import known_key, look_up
from api.gateway.process import Gateway
from api.operations.base import KEY_ERRORS, DocsPage, Operation
from api.operations.key import Dollars
from billing.pricing.money import dollars_text
from billing.usage.balances import credit_totals


async def show_credits(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the team's credits. Raise an error of `api.errors`."""
    admission = await known_key(gateway, request)
    found = await look_up(admission.team_id, lambda: credit_totals(admission.team_id))
    shown = {
        "data": {
            "total_credits": json_dollars(found.received_nanos),
            "total_usage": json_dollars(found.used_nanos),
        },
        "balance": dollars_text(found.left_nanos),
        "total_used": dollars_text(found.used_nanos),
    }
    await request.respond(msgspec.json.encode(shown))


class CreditTotals(Struct):
    """The team's credits since its first."""

    total_credits: Annotated[
        Dollars, Meta(description="Received, less what was refunded or expired.")
    ]
    total_usage: Dollars


class Credits(Struct):
    """The credits of the key's team."""

    data: CreditTotals
    balance: Annotated[
        str, Meta(description="Dollars as a decimal, including what running requests reserve.")
    ]
    total_used: Annotated[str, Meta(description="Dollars as a decimal.")]


CREDITS = Operation(
    name="credits",
    handle=show_credits,
    methods=("GET", "HEAD"),
    path="/credits",
    at_root=False,
    operation_id="get_credits",
    tag="Account",
    summary="Get the team's credits",
    description=(
        "Shows the credits that the key's team received and used, in the formats of OpenRouter's "
        "and Vercel's APIs. Free, and outside all limits."
    ),
    answer=Credits,
    answer_example={
        "data": {"total_credits": 110, "total_usage": 103.5},
        "balance": "6.500000000",
        "total_used": "103.500000000",
    },
    errors=KEY_ERRORS,
    page=DocsPage(
        slug="credits",
        title="Credits",
        summary="The team's balance, and what it has used.",
        charge="Nothing.",
    ),
)
