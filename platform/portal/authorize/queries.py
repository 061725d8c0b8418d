"""The request of an app, in the query of the page that approves its key."""

from dataclasses import dataclass
from urllib.parse import SplitResult

from django.http import QueryDict
from django.utils.translation import gettext as _

from accounts import key_rules
from accounts.app_authorization import callback_of, callback_url, challenge_of

_LONGEST_STATE = 1000


class UnacceptableRequestError(ValueError):
    """An app's request that can't be approved. Its text says why, for the app's makers."""


@dataclass(frozen=True)
class AppRequest:
    """A key that an app asks for. Without a callback its user takes the code there by hand."""

    challenge: bytes
    callback: SplitResult | None
    label: str
    state: str

    @property
    def host(self) -> str:
        """Where the code goes, as a browser's address bar writes it; "" without a callback."""
        return self.callback.netloc if self.callback is not None else ""

    @property
    def source(self) -> str:
        """The app as lists of keys name it."""
        return self.host[:255] or "app"

    @property
    def name(self) -> str:
        """The name that the key has unless the member changes it."""
        return self.label or self.host or _("App")

    @property
    def is_local(self) -> bool:
        """Whether the code goes to a program on the member's own machine."""
        return self.callback is not None and self.callback.scheme == "http"

    def url_with(self, **result: str) -> str:
        """Return the address that the result is sent to; "" without a callback."""
        if self.callback is None:
            return ""
        state = {"state": self.state} if self.state else {}
        return callback_url(self.callback, **result, **state)


def app_request_of(query: QueryDict) -> AppRequest:
    """Return what an address asks for. Raise UnacceptableRequestError."""
    url = query.get("callback_url", "")
    callback = callback_of(url) if url else None
    if url and callback is None:
        raise UnacceptableRequestError(
            _("callback_url must begin with https://, or lead to this machine.")
        )
    challenge = challenge_of(query.get("code_challenge", ""))
    if challenge is None or query.get("code_challenge_method", "S256") != "S256":
        raise UnacceptableRequestError(
            _("code_challenge must be the S256 challenge of a code verifier (RFC 7636).")
        )
    label = query.get("key_label", "").replace("\0", "").strip()[: key_rules.LONGEST_NAME]
    return AppRequest(challenge, callback, label, query.get("state", "")[:_LONGEST_STATE])
