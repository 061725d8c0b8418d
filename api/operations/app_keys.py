"""`POST …/auth/keys`: an app's exchange of a code for the API key that a member approved.

The protocol is OpenRouter's OAuth PKCE; the page that the member sees is the portal's
(`portal/authorize`).
"""

import asyncio
from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from accounts import app_authorization
from accounts.models import ApiKey
from accounts.oauth import OAuthError
from api import errors
from api.gateway.http import ApiRequest
from api.gateway.look_ups import look_up
from api.gateway.process import Gateway
from api.gateway.request_body import UnacceptableJsonError, decode_object
from api.operations.base import COMMON_HEADERS, DocsPage, Operation
from api.phrases import Phrase
from api.validation_errors import explained

MAX_BYTES = 16 * 1024
READ_SECONDS = 10
# All exchanges count as one team's look-ups: whose the code is isn't known before.
_NO_TEAM = 0


class KeyExchange(Struct):
    """A code and what proves that the app asked for it."""

    code: str
    code_verifier: str
    code_challenge_method: Literal["S256"] | UnsetType = UNSET


class ExchangedKey(Struct):
    """The key, shown this once."""

    key: str
    user_id: Annotated[str, Meta(description="An opaque id of the team.")]


class CodeRefusedError(errors.PermissionDeniedError):
    """A code that is unknown, used or expired, or that another verifier belongs to."""

    code = "invalid_code"
    default_message = "The code is wrong, used or expired, or doesn't belong to this code_verifier."


async def exchange_code(gateway: Gateway, request: ApiRequest) -> None:
    """Answer with the approved key, once. Raise an error of `api.errors`."""
    exchange = await _read(request)
    address = request.client_address()

    def make() -> tuple[ApiKey, str] | None:
        try:
            return app_authorization.exchange(
                exchange.code, exchange.code_verifier, ip_address=address
            )
        except OAuthError:
            return None  # what it wrote is kept

    made = await look_up(_NO_TEAM, make)
    if made is None:
        raise CodeRefusedError()
    key, plaintext = made
    answer = ExchangedKey(key=plaintext, user_id=f"team_{key.team_id}")
    no_store = [(b"cache-control", b"no-store")]
    await request.respond(msgspec.json.encode(answer), headers=no_store)


async def _read(request: ApiRequest) -> KeyExchange:
    """Return the body, which comes without a key. Raise an error of `api.errors`."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            body = await request.read_body(MAX_BYTES)
    except TimeoutError:
        raise errors.InvalidRequestError(Phrase("The body did not arrive in time.")) from None
    try:
        return msgspec.convert(decode_object(body), KeyExchange)
    except msgspec.ValidationError as error:
        raise explained(str(error)) from None
    except UnacceptableJsonError as error:
        problem = Phrase("The body is not valid JSON: {reason}", reason=error.reason)
        raise errors.InvalidJsonError(problem) from None


APP_KEYS = Operation(
    name="app_keys",
    handle=exchange_code,
    methods=("POST",),
    path="/auth/keys",
    at_root=False,
    operation_id="exchange_code",
    tag="Account",
    summary="Exchange a code for an API key",
    description=(
        "The last step of OAuth PKCE, as OpenRouter's apps use it: the code that the app was sent "
        "and its verifier become an API key, once, within ten minutes. No key required."
    ),
    body=KeyExchange,
    notes={
        "code": "The code in the callback's address.",
        "code_verifier": "The secret whose S256 challenge the app began with.",
        "code_challenge_method": "`S256`, the only method.",
    },
    examples={
        "Minimal": {
            "code": "Zl0pXj2fT6nQv8sR4wYkB1cD3eF5gH7iJ9mN0oPqRtU",
            "code_verifier": "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk",
        }
    },
    answer=ExchangedKey,
    answer_example={"key": "sk-tg-...", "user_id": "team_12"},
    errors=(400, 403, 413, 429, 500, 503),
    headers=COMMON_HEADERS,
    takes_key=False,
    page=DocsPage(
        slug="app-keys",
        title="Keys for apps",
        summary="Let the users of your app approve a key with one click.",
        charge="Nothing.",
    ),
)
