"""The admin's appearance: the pages' own colours, the service's name, and the navigation.

The colours are those of `static/css/tokens.css`, as the scales that unfold's classes need.
"""

from typing import Any

from django.urls import reverse_lazy

_PRIMARY = {
    "50": "#f0f8f5",
    "100": "#e2f1ec",
    "200": "#bfe3d8",
    "300": "#8be3cb",
    "400": "#5fd0b2",
    "500": "#5fd0b2",  # links on dark pages
    "600": "#0a6b57",
    "700": "#085a49",
    "800": "#07513f",
    "900": "#17352d",
    "950": "#06241c",
}
_BASE = {
    "50": "#f8f7f3",
    "100": "#f1efe9",
    "200": "#e3dfd6",
    "300": "#cfcabf",
    "400": "#a9a69c",
    "500": "#68645c",
    "600": "#4b4842",
    "700": "#3c3a34",
    "800": "#32352e",
    "900": "#1c1e1a",
    "950": "#141512",
}


def _link(title: str, icon: str, model: str) -> dict[str, Any]:
    """Return a link to a model's list, for users who may view it."""
    app, name = model.split(".")
    return {
        "title": title,
        "icon": icon,
        "link": reverse_lazy(f"admin:{app}_{name}_changelist"),
        "permission": lambda request: request.user.has_perm(f"{app}.view_{name}"),
    }


def _section(title: str, *items: dict[str, Any]) -> dict[str, Any]:
    """Return a section of the navigation."""
    return {"title": title, "items": list(items)}


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "portal.console.shell.site_title",
    "SITE_HEADER": "portal.console.shell.site_title",
    "SITE_ICON": "portal.console.shell.site_icon",
    "SITE_URL": "/",
    "DASHBOARD_CALLBACK": "portal.console.overview.index",
    "STYLES": [
        "portal.console.shell.tokens_css",
        "portal.console.shell.brand_css",
        "portal.console.shell.console_css",
    ],
    "COLORS": {"primary": _PRIMARY, "base": _BASE},
    "BORDER_RADIUS": "6px",
    "SIDEBAR": {
        "show_search": True,  # templates/unfold/helpers/search.html: the console's search
        "show_all_applications": True,
        "navigation": [
            _section(
                "",
                {"title": "Overview", "icon": "monitoring", "link": reverse_lazy("admin:index")},
            ),
            _section(
                "Customers",
                _link("Teams", "groups", "accounts.team"),
                _link("Users", "person", "accounts.user"),
                _link("API keys", "key", "accounts.apikey"),
                _link("Requests", "receipt_long", "billing.usagerecord"),
                _link("Audit log", "history", "accounts.auditentry"),
            ),
            _section(
                "Money",
                {
                    "title": "Margins",
                    "icon": "percent",
                    "link": reverse_lazy("console:margins"),
                    "permission": lambda request: request.user.has_perm("billing.view_margins"),
                },
                _link("Manual postings", "edit_note", "billing.manualposting"),
                _link("Contract prices", "handshake", "billing.contractprice"),
                _link("Orders", "shopping_cart", "billing.order"),
                _link("Refunds", "undo", "billing.refund"),
                _link("Disputes", "gavel", "billing.dispute"),
                _link("Fraud warnings", "warning", "billing.fraudwarning"),
                _link("Subscriptions", "autorenew", "billing.subscription"),
                _link("Promotional codes", "redeem", "billing.creditcode"),
                _link("Transfers", "sync_alt", "billing.transfer"),
                {
                    **_link("Upstream reconciliation", "balance", "billing.upstreamstatement"),
                    "link": reverse_lazy("console:statements"),
                },
            ),
            _section(
                "Catalogue",
                _link("Models", "deployed_code", "api.model"),
                _link("Upstreams", "dns", "api.upstream"),
                _link("Upstream keys", "vpn_key", "api.upstreamkey"),
                _link("Routes", "alt_route", "api.route"),
                _link("Prices", "sell", "billing.priceversion"),
            ),
            _section(
                "Operations",
                _link("Alerts", "notifications", "billing.ledgeralert"),
                {
                    "title": "Brand",
                    "icon": "palette",
                    "link": reverse_lazy("console:brand"),
                    "permission": lambda request: request.user.has_perm("portal.change_brand"),
                },
                _link("Stripe events", "webhook", "billing.stripeevent"),
                {
                    "title": "Staff invitations",
                    "icon": "person_add",
                    "link": reverse_lazy("console:staff_invitations"),
                    "permission": lambda request: request.user.has_perm("accounts.invite_staff"),
                },
                _link("Staff log", "badge", "admin.logentry"),
            ),
        ],
    },
}
