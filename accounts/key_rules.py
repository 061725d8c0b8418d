"""The rules of an API key's fields, in the words that a member reads.

The management API's serializers and the portal's forms both ask here, so that a key may have the
same name, expiry and limits wherever it is made.
"""

from datetime import datetime

from django.utils import timezone
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy

LONGEST_NAME = 120
LONGEST_MODEL_NAME = 120
MOST_MODELS = 200
LEAST_LIMIT = 1

NAME_MISSING = gettext_lazy("Enter a name.")
NAME_TOO_LONG = format_lazy(gettext_lazy("Enter at most {limit} characters."), limit=LONGEST_NAME)
LIMIT_INVALID = gettext_lazy("Enter a whole number, such as 60.")
LIMIT_TOO_LOW = format_lazy(gettext_lazy("Enter at least {limit}."), limit=LEAST_LIMIT)


class KeyRuleError(ValueError):
    """A rule that a key may not have. `code` is the management API's name for the reason."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def require_future(expires_at: datetime) -> None:
    """Raise KeyRuleError for an expiry in the past: a key is ended by revoking it."""
    if expires_at <= timezone.now():
        raise KeyRuleError(gettext("Enter a time in the future."), "past")


def require_limit(limit: int, plan_limit: int) -> None:
    """Raise KeyRuleError for a limit below 1 or above the plan's; only staff set higher ones."""
    if limit < LEAST_LIMIT:
        raise KeyRuleError(str(LIMIT_TOO_LOW), "min_value")
    if limit > plan_limit:
        text = gettext("Enter at most {limit}, the plan's limit, or contact us for more.")
        raise KeyRuleError(text.format(limit=plan_limit), "max_value")
