"""API keys as a way to authenticate at Django's own API (the relay asks the gate instead)."""

from typing import TYPE_CHECKING

from rest_framework.authentication import BaseAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework.request import Request

from accounts import api_keys

if TYPE_CHECKING:
    from accounts.models import ApiKey


class KeyAuthentication(BaseAuthentication):
    """Takes `Authorization: Bearer <key>`; the key is then `request.auth` and there is no user.

    A key that is malformed, unknown, revoked or expired gets one and the same refusal: the answer
    is no oracle. A mistyped key is refused by its checksum, without a query.
    """

    def authenticate(self, request: Request) -> "tuple[None, ApiKey] | None":
        """Return no user and the key, or None for a request that brings no bearer token.

        Raise AuthenticationFailed.
        """
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            return None
        key = api_keys.find_active(token.strip())
        if key is None:
            raise AuthenticationFailed
        return None, key

    def authenticate_header(self, request: Request) -> str:
        """Return what WWW-Authenticate says on a 401."""
        return "Bearer"
