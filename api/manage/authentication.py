"""API keys as credentials of the management API. (The API's own are checked by the gate.)"""

from typing import Any

from drf_spectacular.extensions import OpenApiAuthenticationExtension
from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import api_keys
from accounts.models import ApiKey
from api import errors


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer <key>`: the key becomes `request.auth`, and there is no user.

    A key that is malformed, unknown, revoked or expired is refused in the same words, so that the
    answer is no oracle; only a frozen one is called so. A mistyped key is refused by its checksum,
    without a query.
    """

    def authenticate(self, request: Request) -> tuple[None, ApiKey] | None:
        """Return no user and the key, or None for a request that brings no bearer token.

        Raise AuthenticationFailed and KeyFrozenError.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = api_keys.find_active(token.strip())
        if key is None and api_keys.is_frozen(token.strip()):
            raise errors.KeyFrozenError
        if key is None:
            raise AuthenticationFailed
        return None, key

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says on a 401."""
        return "Bearer"


class KeyAuthenticationScheme(OpenApiAuthenticationExtension):  # type: ignore[no-untyped-call]
    """The OpenAPI description of `KeyAuthentication`, registered by its import."""

    target_class = "api.manage.authentication.KeyAuthentication"
    name = "managementKey"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Return OpenAPI's security scheme."""
        return {"type": "http", "scheme": "bearer", "description": "A management key."}
