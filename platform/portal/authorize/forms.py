"""The form with which a member approves a key for a program."""

from datetime import datetime, timedelta
from typing import Any, cast

from django import forms
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from accounts import key_rules
from accounts.api_keys import KeyBudgets
from billing.pricing.money import budget_nanos

_NEVER = "never"
_PERIODS = {
    "budget_day_nanos": _("a day"),
    "budget_month_nanos": _("a month"),
    "budget_total_nanos": _("in total"),
}


class ApprovalForm(forms.Form):
    """Name, limit and expiry. Once valid, `budgets` and `ends_at` are what was chosen."""

    name = forms.CharField(
        label=_("Name"),
        max_length=key_rules.LONGEST_NAME,
        error_messages={
            "required": key_rules.NAME_MISSING,
            "max_length": key_rules.NAME_TOO_LONG,
        },
    )
    limit = forms.CharField(
        label=_("Limit ($)"),
        required=False,
        initial="20",
        help_text=_("Leave empty for no limit but the balance."),
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )
    period = forms.ChoiceField(
        label=_("Applies"), choices=list(_PERIODS.items()), initial="budget_month_nanos"
    )
    expiry = forms.ChoiceField(
        label=_("Expires"),
        choices=[
            ("1", _("In 1 day")),
            ("7", _("In 7 days")),
            ("30", _("In 30 days")),
            ("90", _("In 90 days")),
            (_NEVER, _("Never")),
        ],
        initial="30",
    )

    def __init__(self, data: Any, *, name: str) -> None:
        super().__init__(data, initial={"name": name[: key_rules.LONGEST_NAME]})
        self.budgets: KeyBudgets = {}
        self.ends_at: datetime | None = None

    def clean(self) -> dict[str, Any]:
        """Set the chosen budgets and end. A limit that isn't an amount is its field's error."""
        cleaned = super().clean() or {}
        try:
            if cleaned.get("limit"):
                chosen = {cleaned.get("period", ""): budget_nanos(cleaned["limit"])}
                self.budgets = cast(KeyBudgets, chosen)
        except ValueError as error:
            self.add_error("limit", str(error))
        expiry = cleaned.get("expiry", _NEVER)
        if expiry != _NEVER:
            self.ends_at = timezone.now() + timedelta(days=int(expiry))
        return cleaned
