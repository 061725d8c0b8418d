"""The emails whose words staff can write: their placeholders, and a sample of each.

A placeholder's value is rendered by a line of ours, with the filters of the email's own templates;
staff only name it. Emails to staff (alerts, staff codes) keep their text.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from django.template import Context, Template
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

_RESET = "{{ base_url }}{% url 'account_reset_password' %}"
_EVERYWHERE = {
    "service": "{{ service.name }}",
    "support": "{{ service.contact_email }}",
    "site_url": "{{ base_url }}",
    "to": "{{ to }}",
}
_TEAM = {"team": "{{ team_name }}"}
_SIGN_IN = {"device": "{{ device }}", "ip": "{{ ip }}", "time": "{{ at }}", "reset_url": _RESET}
_NOTICE = {"notifications_url": "{{ notifications_url }}"}
_SITE = "https://example.com"
_SAMPLE: dict[str, Any] = {
    "team_name": "Acme",
    "device": "Firefox on Linux",
    "ip": "192.0.2.1",
    "at": "2026-11-30 12:00 UTC",
    "keys_url": f"{_SITE}/settings/apikeys",
    "usage_url": f"{_SITE}/usage",
    "billing_url": f"{_SITE}/billing",
    "statement_url": f"{_SITE}/statement",
    "notifications_url": f"{_SITE}/settings/notifications",
}


@dataclass(frozen=True)
class EmailText:
    """An email: its title in lists, its placeholders with their values' templates, a sample."""

    title: str
    own: dict[str, str]
    required: tuple[str, ...] = ()
    sample: dict[str, Any] = field(default_factory=dict)

    @property
    def placeholders(self) -> dict[str, str]:
        """All placeholders, with the templates of their values."""
        return {**_EVERYWHERE, **self.own}

    @property
    def context(self) -> dict[str, Any]:
        """What a preview shows."""
        return {**_SAMPLE, **self.sample}


EMAILS: dict[str, EmailText] = {
    "email_code": EmailText(
        "Verify an address", {"code": "{{ code }}"}, ("code",), {"code": "123456"}
    ),
    "account_exists": EmailText(
        "Sign-up with a known address",
        {
            "sign_in_url": "{{ base_url }}{% url 'account_login' %}",
            "reset_url": "{{ password_reset_url }}",
        },
        sample={"password_reset_url": f"{_SITE}/accounts/password/reset/"},
    ),
    "unknown_account": EmailText(
        "Password reset of an unknown address",
        {"sign_up_url": "{{ signup_url }}"},
        sample={"signup_url": f"{_SITE}/accounts/signup/"},
    ),
    "password_reset": EmailText(
        "Password reset",
        {"reset_url": "{{ password_reset_url }}"},
        ("reset_url",),
        {"password_reset_url": f"{_SITE}/accounts/password/reset/key/1-abc/"},
    ),
    "new_sign_in": EmailText(
        "New sign-in",
        {**_SIGN_IN, "sessions_url": "{{ base_url }}{% url 'usersessions_list' %}"},
        ("device", "time"),
    ),
    "security_notice": EmailText(
        "Change to an account's security",
        {
            **_SIGN_IN,
            "title": '{% include "mail/security_notice_title.txt" %}',
            "sentence": '{% include "mail/security_notice_told.txt" %}',
        },
        ("sentence",),
        {"notice": "webauthn_added"},
    ),
    "invitation": EmailText(
        "Invitation to a team",
        {
            **_TEAM,
            "inviter": '{{ inviter|default:_("A member") }}',
            "role": "{{ role }}",
            "role_meaning": "{{ role_meaning }}",
            "url": "{{ url }}",
            "expires": "{{ expires_at|utc }} UTC",
        },
        ("url", "to"),
        {
            "inviter": "alice@example.com",
            "role": pgettext_lazy("role", "developer"),
            "role_meaning": _("Creates and manages their own keys. Sees the team's usage."),
            "url": f"{_SITE}/invitations/abc",
            "expires_at": datetime(2026, 12, 7, 12, tzinfo=UTC),
        },
    ),
    "low_balance": EmailText(
        "Low balance",
        {
            **_TEAM,
            **_NOTICE,
            "balance": "{{ balance_nanos|cents }}",
            "threshold": "{{ threshold_nanos|cents }}",
            "billing_url": "{{ billing_url }}#top-up",
            "usage_url": "{{ usage_url }}",
        },
        sample={"balance_nanos": 1_500_000_000, "threshold_nanos": 5_000_000_000},
    ),
    "budget_reached": EmailText(
        "Budget of a key",
        {
            **_TEAM,
            **_NOTICE,
            "key": "{{ key_name }}",
            "key_hint": "{{ key_hint }}",
            "spent": "{{ spent_nanos|dollars }}",
            "budget": "{{ budget_nanos|dollars }}",
            "period": '{% include "mail/budget_reached_period.txt" %}',
            "percent": "{{ percent }}%",
            "keys_url": "{{ keys_url }}",
        },
        sample={
            "key_name": "Production",
            "key_hint": "sk-…abcd",
            "spent_nanos": 9_100_000_000,
            "budget_nanos": 10_000_000_000,
            "period": "daily",
            "percent": 90,
        },
    ),
    "budget_warning": EmailText(
        "Budget of a team, member, session or end user",
        {
            **_TEAM,
            **_NOTICE,
            "owner": "{{ owner }}",
            "percent": "{{ percent }}%",
            "summary": '{% include "mail/budget_warning_told.txt" %}',
            "budgets_url": "{{ budgets_url }}",
        },
        ("summary",),
        {
            "scope": "session",
            "period": "day",
            "owner": "Production (sk-…abcd) · 0f3c",
            "percent": 75,
            "spent_nanos": 3_750_000_000,
            "budget_nanos": 5_000_000_000,
            "is_hard": 1,
            "budgets_url": f"{_SITE}/team/budgets",
        },
    ),
    "key_created": EmailText(
        "New key",
        {
            **_TEAM,
            **_NOTICE,
            "key": "{{ key_name }}",
            "key_hint": "{{ key_hint }}",
            "maker": '{{ maker|default:_("a management key") }}',
            "time": "{{ created_at }}",
            "keys_url": "{{ keys_url }}",
        },
        sample={
            "key_name": "Production",
            "key_hint": "sk-…abcd",
            "maker": "alice@example.com",
            "created_at": "2026-11-30 12:00 UTC",
            "scope": "inference",
            "is_rotation": 0,
        },
    ),
    "key_flagged": EmailText(
        "Unusual use of a key",
        {
            **_TEAM,
            "key": "{{ key_name }}",
            "key_hint": "{{ key_hint }}",
            "summary": '{% include "mail/key_flagged_told.txt" %}',
            "key_url": "{{ key_url }}",
        },
        ("summary", "key_url"),
        {
            "key_name": "Production",
            "key_hint": "sk-…abcd",
            "key_url": f"{_SITE}/settings/apikeys/1",
            "network": "",
            "spent_nanos": 42_000_000_000,
            "usual_nanos": 3_000_000_000,
            "is_frozen": 1,
        },
    ),
    "webhook_disabled": EmailText(
        "Webhook endpoint disabled",
        {
            **_TEAM,
            "url": "{{ url }}",
            "summary": '{% include "mail/webhook_disabled_told.txt" %}',
            "webhooks_url": "{{ webhooks_url }}",
        },
        ("url",),
        {
            "url": f"{_SITE}/hook",
            "reason": "failing",
            "webhooks_url": f"{_SITE}/team/webhooks",
        },
    ),
    "keys_paused": EmailText(
        "Keys paused by a dispute",
        {**_TEAM, "statement_url": "{{ statement_url }}"},
        sample={"is_disputed": 1},
    ),
    "auto_top_up": EmailText(
        "Auto top-up",
        {
            **_TEAM,
            "credits": "{{ credit_nanos|cents }}",
            "charged": '{% include "mail/auto_top_up_charged.txt" %}',
            "order": "{{ number }}",
            "time": "{{ at }}",
            "billing_url": "{{ billing_url }}",
        },
        sample={
            "credit_nanos": 20_000_000_000,
            "amount_nanos": 20_000_000_000,
            "card_brand": "Visa",
            "card_last_four": "4242",
            "number": "T-1001",
        },
    ),
    "auto_top_up_problem": EmailText(
        "Problem with auto top-up",
        {
            **_TEAM,
            "summary": '{% include "mail/auto_top_up_problem_told.txt" %}',
            "billing_url": "{{ billing_url }}#auto-top-up",
        },
        ("summary",),
        {
            "problem": "no_card",
            "threshold_nanos": 5_000_000_000,
            "amount_nanos": 20_000_000_000,
            "is_enabled": 1,
        },
    ),
    "plan_payment_failed": EmailText(
        "Payment of a plan failed",
        {
            **_TEAM,
            "plan": "{{ plan_title }}",
            "summary": '{% include "mail/plan_payment_failed_told.txt" %}',
            "billing_url": "{{ billing_url }}#card",
        },
        ("summary",),
        {"plan_title": "Pro", "price_cents": 2000},
    ),
    "plan_ended": EmailText(
        "A plan has ended",
        {
            **_TEAM,
            "plan": "{{ plan_title }}",
            "summary": '{% include "mail/plan_ended_told.txt" %}',
            "billing_url": "{{ billing_url }}#plan",
        },
        ("summary",),
        {"plan_title": "Pro", "now_title": "Free", "is_unpaid": 0},
    ),
    "price_change": EmailText(
        "A price changes",
        {
            "model": "{{ model }}",
            "date": "{{ effective_from }}",
            "summary": '{% include "mail/price_change_told.txt" %}',
            "usage_url": "{{ usage_url }}",
        },
        ("summary",),
        {
            "model": "glm-5.2",
            "effective_from": "2026-12-15",
            "change": "input rises from $0.60 to $0.70 per million tokens",
        },
    ),
    "refund_made": EmailText(
        "Refund",
        {
            **_TEAM,
            "amount": "{{ amount_nanos|cents }}",
            "order": "{{ order_number }}",
            "credits": "{{ credit_nanos|cents }}",
            "statement_url": "{{ statement_url }}",
        },
        ("amount",),
        {
            "amount_nanos": 12_500_000_000,
            "order_number": "T-1001",
            "credit_nanos": 12_500_000_000,
            "tax_nanos": 0,
        },
    ),
    "status_confirm": EmailText(
        "Confirm status updates",
        {"url": "{{ url }}", "days": "{{ days }}"},
        ("url",),
        {"url": f"{_SITE}/status/confirm/abc", "days": 7},
    ),
    "status_update": EmailText(
        "Status update",
        {
            "kind": '{% include "mail/status_update_kind.txt" %}',
            "title": "{{ title }}",
            "text": "{{ text }}",
            "time": "{{ at }}",
            "url": "{{ url }}",
            "unsubscribe_url": "{{ unsubscribe_url }}",
        },
        ("text", "unsubscribe_url"),
        {
            "kind": "incident",
            "title": "Slow answers",
            "text": "We are looking into it.",
            "url": f"{_SITE}/status",
            "unsubscribe_url": f"{_SITE}/status/unsubscribe/abc",
        },
    ),
}


def values_for(name: str, values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values of an email's placeholders as plain text."""
    context = Context(dict(values), autoescape=False)
    return {
        placeholder: _template(source).render(context).strip()
        for placeholder, source in EMAILS[name].placeholders.items()
    }


@lru_cache(maxsize=256)
def _template(source: str) -> Template:
    return Template("{% load ui figures %}" + source)
