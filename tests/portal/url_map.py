"""Every named address of the site, and who gets what there.

An address that is not in `PAGES` makes the walk fail, so that nobody forgets one. Those of the
admin are in `tests/config/test_admin.py`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from django.urls import get_resolver, reverse
from django.urls.resolvers import URLResolver

LOGIN = "login"  # a redirect to the form of sign-in
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Page:
    """What an address answers, with objects of Alice's team in it: a status, or LOGIN.

    stranger is signed out, outsider owns another team, developer and billing are members of the
    team with these roles, nobody is a user without a team. `owner` is Alice herself. LOGIN, 401,
    403 and 404 are refusals, which hold for every method; the others are what GET answers.
    """

    methods: str
    owner: int | str
    stranger: int | str
    outsider: int | str
    developer: int | str
    billing: int | str
    nobody: int | str
    is_library: bool = False
    is_signed: bool = False  # by a service, in place of a session and its token


PAGES: dict[str, Page] = {
    "home": Page("GET", 200, 200, 200, 200, 200, 200),
    "switch_language": Page("POST", 400, 400, 400, 400, 400, 400, is_signed=True),
    "terms": Page("GET", 200, 200, 200, 200, 200, 200),
    "privacy": Page("GET", 200, 200, 200, 200, 200, 200),
    "imprint": Page("GET", 404, 404, 404, 404, 404, 404),
    "brand_file": Page("GET", 302, 302, 302, 302, 302, 302),
    "sitemap": Page("GET", 200, 200, 200, 200, 200, 200),
    "robots_txt": Page("GET", 200, 200, 200, 200, 200, 200),
    "prefetch_rules": Page("GET", 200, 200, 200, 200, 200, 200),
    "favicon": Page("GET", 302, 302, 302, 302, 302, 302),
    "jwks": Page("GET", 200, 200, 200, 200, 200, 200),
    "security_txt": Page("GET", 200, 200, 200, 200, 200, 200),
    "dashboard": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "find": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "balance": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "dashboard_live": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "apikeys": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "new_key": Page("GET POST", 200, LOGIN, 200, 200, 403, 403),
    "key": Page("GET", 200, LOGIN, 404, 200, 200, 403),
    "edit_key": Page("GET POST", 200, LOGIN, 404, 403, 403, 403),
    "rotate_key": Page("GET POST", 200, LOGIN, 404, 403, 403, 403),
    "guard_key": Page("POST", 400, LOGIN, 404, 403, 403, 403),
    "freeze_key": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "unfreeze_key": Page("POST", 409, LOGIN, 404, 403, 403, 403),
    "revoke_key": Page("GET POST", 200, LOGIN, 404, 403, 403, 403),
    "device": Page("GET POST", 200, LOGIN, 200, 200, 403, 403),
    "authorize_app": Page("GET POST", 400, LOGIN, 400, 400, 403, 403),
    "device_authorization": Page("POST", 200, 200, 200, 200, 200, 200, is_signed=True),
    "oauth_token": Page("POST", 400, 400, 400, 400, 400, 400, is_signed=True),
    "oauth_revoke": Page("POST", 400, 400, 400, 400, 400, 400, is_signed=True),
    "usage": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "usage_csv": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "request": Page("GET", 200, LOGIN, 404, 200, 200, 403),
    "request_receipt": Page("GET", 200, LOGIN, 404, 200, 200, 403),
    "saved_filters": Page("POST", 302, LOGIN, 302, 302, 302, 403),
    "usage_columns": Page("POST", 204, LOGIN, 204, 204, 204, 403),
    "sessions": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "session": Page("GET", 200, LOGIN, 404, 200, 200, 403),
    "statement": Page("GET", 200, LOGIN, 200, 403, 200, 403),
    "statement_csv": Page("GET", 200, LOGIN, 302, 403, 200, 403),
    "day_roots": Page("GET", 200, LOGIN, 200, 403, 200, 403),
    # The walk's day has no transfers.
    "day_root": Page("GET", 404, LOGIN, 404, 403, 404, 403),
    "billing": Page("GET", 200, LOGIN, 200, 403, 200, 403),
    "top_up": Page("POST", 422, LOGIN, 422, 403, 422, 403),
    "orders": Page("GET", 200, LOGIN, 200, 403, 200, 403),
    "order": Page("GET", 200, LOGIN, 404, 403, 200, 403),
    "order_state": Page("GET", 200, LOGIN, 404, 403, 200, 403),
    "pay_order": Page("POST", 302, LOGIN, 404, 403, 302, 403),
    "left_order": Page("GET", 302, LOGIN, 404, 403, 302, 403),
    "receipt": Page("GET", 302, LOGIN, 404, 403, 302, 403),
    "invoice": Page("GET", 302, LOGIN, 404, 403, 302, 403),
    "plan_invoice": Page("GET", 404, LOGIN, 404, 403, 404, 403),
    "card": Page("GET", 302, LOGIN, 302, 403, 302, 403),
    "add_card": Page("POST", 302, LOGIN, 302, 403, 302, 403),
    "save_auto_top_up": Page("POST", 422, LOGIN, 422, 403, 422, 403),
    "redeem_code": Page("POST", 422, LOGIN, 422, 403, 422, 403),
    "referral": Page("GET", 302, 302, 302, 302, 302, 302),
    "billing_portal": Page("POST", 302, LOGIN, 302, 403, 302, 403),
    "plan_begun": Page("GET", 302, LOGIN, 302, 403, 302, 403),
    "change_plan": Page("GET POST", 200, LOGIN, 200, 403, 200, 403),
    "cancel_plan": Page("GET POST", 404, LOGIN, 404, 403, 404, 403),
    "keep_plan": Page("GET POST", 404, LOGIN, 404, 403, 404, 403),
    "stripe_webhook": Page("POST", 400, 400, 400, 400, 400, 400, is_signed=True),
    "chat": Page("GET", 200, LOGIN, 200, 200, 403, 403),
    "chat_conversation": Page("GET", 200, LOGIN, 404, 404, 403, 403),
    "chat_key": Page("POST", 200, LOGIN, 200, 200, 403, 403),
    "chat_storage": Page("POST", 400, LOGIN, 400, 400, 403, 403),
    "chat_charge": Page("GET", 200, LOGIN, 200, 200, 403, 403),
    "chat_conversations": Page("GET POST DELETE", 200, LOGIN, 200, 200, 403, 403),
    "chat_conversation_json": Page("GET PATCH DELETE", 200, LOGIN, 404, 404, 403, 403),
    "chat_messages": Page("POST", 400, LOGIN, 404, 404, 403, 403),
    "playground": Page("GET", 200, LOGIN, 200, 200, 403, 403),
    "docs": Page("GET", 200, 200, 200, 200, 200, 200),
    "models": Page("GET", 200, 200, 200, 200, 200, 200),
    "model": Page("GET", 200, 200, 200, 200, 200, 200),
    "docs_search": Page("GET", 200, 200, 200, 200, 200, 200),
    "agent_key": Page("GET POST", 302, LOGIN, 302, 302, 403, 403),
    "first_call": Page("GET", 200, LOGIN, 404, 200, 200, 403),
    "docs_markdown": Page("GET", 200, 200, 200, 200, 200, 200),
    "llms_txt": Page("GET", 200, 200, 200, 200, 200, 200),
    "docs_page": Page("GET", 200, 200, 200, 200, 200, 200),
    "status": Page("GET", 200, 200, 200, 200, 200, 200),
    "status_feed": Page("GET", 200, 200, 200, 200, 200, 200),
    "status_subscribe": Page("POST", 422, 422, 422, 422, 422, 422),
    # The walk's token is an invitation's.
    "status_confirm": Page("GET POST", 404, 404, 404, 404, 404, 404),
    "status_unsubscribe": Page("GET POST", 404, 404, 404, 404, 404, 404, is_signed=True),
    "team": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "switch_team": Page("POST", 302, LOGIN, 302, 302, 302, 403),
    "new_team": Page("GET POST", 200, LOGIN, 200, 200, 200, 403),
    "team_settings": Page("GET POST", 200, LOGIN, 200, 200, 200, 403),
    "team_budgets": Page("GET POST", 200, LOGIN, 200, 403, 403, 403),
    "remove_budget": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "leave_team": Page("POST", 403, LOGIN, 403, 302, 302, 403),
    "audit_log": Page("GET", 200, LOGIN, 200, 403, 403, 403),
    "webhooks": Page("GET", 200, LOGIN, 200, 403, 403, 403),
    "new_webhook": Page("GET POST", 200, LOGIN, 200, 403, 403, 403),
    "webhook": Page("GET", 200, LOGIN, 404, 403, 403, 403),
    "edit_webhook": Page("GET POST", 200, LOGIN, 404, 403, 403, 403),
    "rotate_webhook": Page("POST", 200, LOGIN, 404, 403, 403, 403),
    "test_webhook": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "disable_webhook": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "enable_webhook": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "delete_webhook": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "webhook_delivery": Page("GET", 200, LOGIN, 404, 403, 403, 403),
    "replay_delivery": Page("POST", 409, LOGIN, 404, 403, 403, 403),
    "member": Page("GET POST", 200, LOGIN, 404, 403, 403, 403),
    "remove_member": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "invite": Page("POST", 422, LOGIN, 422, 403, 403, 403),
    "resend_invitation": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "withdraw_invitation": Page("POST", 302, LOGIN, 404, 403, 403, 403),
    "invitation": Page("GET POST", 403, 200, 403, 403, 403, 403),
    "profile": Page("GET POST", 200, LOGIN, 200, 200, 200, 403),
    "notifications": Page("GET POST", 200, LOGIN, 200, 200, 200, 403),
    "your_data": Page("GET", 200, LOGIN, 200, 200, 200, 403),
    "export_data": Page("POST", 200, LOGIN, 200, 200, 200, 403),
    "delete_account": Page("GET POST", 200, LOGIN, 200, 200, 200, 403),
    "end_session": Page("POST", 302, LOGIN, 404, 404, 404, 404),
    "design": Page("GET", LOGIN, LOGIN, LOGIN, LOGIN, LOGIN, LOGIN),
    "mailbox": Page("GET", 404, 404, 404, 404, 404, 404),
    "email": Page("GET", 404, 404, 404, 404, 404, 404),
    "email_html": Page("GET", 404, 404, 404, 404, 404, 404),
    "account_login": Page("GET POST", 302, 200, 302, 302, 302, 302, is_library=True),
    "account_logout": Page("GET POST", 200, 302, 200, 200, 200, 200, is_library=True),
    "account_inactive": Page("GET", 200, 200, 200, 200, 200, 200, is_library=True),
    "account_signup": Page("GET POST", 302, 200, 302, 302, 302, 302, is_library=True),
    "account_reauthenticate": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "account_email": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "account_email_verification_sent": Page(
        "GET POST", 302, LOGIN, 302, 302, 302, 302, is_library=True
    ),
    "account_change_password": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "account_set_password": Page("GET POST", 302, LOGIN, 302, 302, 302, 302, is_library=True),
    "account_reset_password": Page("GET POST", 200, 200, 200, 200, 200, 200, is_library=True),
    "account_confirm_login_code": Page("GET POST", 302, LOGIN, 302, 302, 302, 302, is_library=True),
    "account_reset_password_from_key_done": Page(
        "GET", 200, 200, 200, 200, 200, 200, is_library=True
    ),
    "account_reset_password_from_key": Page(
        "GET POST", 200, 200, 200, 200, 200, 200, is_library=True
    ),
    "account_reset_password_done": Page("GET", 200, 200, 200, 200, 200, 200, is_library=True),
    "confirm_mailbox": Page("GET POST", 302, LOGIN, 302, 302, 302, 302),
    "mfa_index": Page("GET", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "mfa_authenticate": Page("GET POST", 302, LOGIN, 302, 302, 302, 302, is_library=True),
    "mfa_reauthenticate": Page("GET POST", 302, LOGIN, 302, 302, 302, 302, is_library=True),
    "mfa_activate_totp": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "mfa_deactivate_totp": Page("GET POST", 404, LOGIN, 404, 404, 404, 404, is_library=True),
    "mfa_view_recovery_codes": Page("GET", 404, LOGIN, 404, 404, 404, 404, is_library=True),
    "mfa_generate_recovery_codes": Page(
        "GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True
    ),
    "mfa_download_recovery_codes": Page(
        "GET POST", 404, LOGIN, 404, 404, 404, 404, is_library=True
    ),
    "mfa_list_webauthn": Page("GET", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "mfa_add_webauthn": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "manage-keys": Page("GET POST", 200, 401, 200, 200, 200, 400),
    "socialaccount_signup": Page(
        "GET POST", LOGIN, LOGIN, LOGIN, LOGIN, LOGIN, LOGIN, is_library=True
    ),
    "openapi": Page("GET", 200, 200, 200, 200, 200, 200),
    "mfa_reauthenticate_webauthn": Page(
        "GET POST", 200, LOGIN, 302, 302, 302, 302, is_library=True
    ),
    "manage-key": Page("GET PATCH DELETE", 200, 401, 404, 200, 200, 400),
    "manage-receipt": Page("GET", 200, 401, 404, 200, 200, 400),
    "manage-day-roots": Page("GET", 200, 401, 200, 200, 200, 400),
    "manage-day-root": Page("GET", 404, 401, 404, 404, 404, 400),
    "manage-usage": Page("GET", 200, 401, 200, 200, 200, 400),
    "manage-team": Page("GET", 200, 401, 200, 200, 200, 400),
    "mfa_login_webauthn": Page("GET POST", 302, LOGIN, 302, 302, 302, 302, is_library=True),
    "manage-key-rotate": Page("POST", 201, 401, 404, 403, 403, 400),
    "socialaccount_login_error": Page("GET", 401, 401, 401, 401, 401, 401, is_library=True),
    "socialaccount_connections": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "usersessions_list": Page("GET POST", 200, LOGIN, 200, 200, 200, 200, is_library=True),
    "socialaccount_login_cancelled": Page("GET", 200, 200, 200, 200, 200, 200, is_library=True),
    "mfa_edit_webauthn": Page("GET POST", 200, LOGIN, 404, 404, 404, 404, is_library=True),
    "mfa_remove_webauthn": Page("GET POST", 200, LOGIN, 404, 404, 404, 404, is_library=True),
}


@cache
def addresses() -> dict[str, frozenset[str]]:
    """Return the site's named addresses but staff's, each with its arguments' names."""
    return dict(_walk(get_resolver()))


def address(name: str, arguments: dict[str, Any]) -> str:
    """Return the address with those of the arguments that it takes."""
    return reverse(name, kwargs={each: arguments[each] for each in addresses()[name]})


def _walk(
    resolver: URLResolver, above: frozenset[str] = frozenset()
) -> Iterator[tuple[str, frozenset[str]]]:
    for each in resolver.url_patterns:
        taken = above | each.pattern.regex.groupindex.keys()
        if isinstance(each, URLResolver):
            if each.namespace not in {"admin", "console"}:
                yield from _walk(each, taken)
        elif each.name:
            yield each.name, taken
