"""The groups of staff permissions that ship with the service; `platform/docs/operations.md` has the
table of their permissions.

`migrate` gives each group exactly these permissions, so that a release's new ones arrive. For other
needs there are other groups. No group makes anyone a superuser; owners invite staff.
"""

from typing import Any

from django.apps.registry import Apps
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

APPS = ("accounts", "api", "billing")
_VIEWS = Q(content_type__app_label__in=APPS, codename__startswith="view_") & ~Q(
    codename__in=["view_as_customer", "view_margins"]
)
_NOTES = ("accounts.add_staffnote",)
_SUPPORT = (
    *_NOTES,
    "accounts.change_apikey",
    "accounts.change_team",
    "accounts.change_user",
    "accounts.end_sessions",
    "accounts.freeze_team",
    "accounts.resend_emails",
    "accounts.view_as_customer",
    "billing.give_goodwill",
)
_FINANCE = (
    *_NOTES,
    "accounts.add_plan",
    "accounts.change_plan",
    "billing.add_creditcode",
    "billing.add_planoffer",
    "billing.add_refund",
    "billing.add_upstreamstatement",
    "billing.adjust_balance",
    "billing.approve_contractprice",
    "billing.approve_manualposting",
    "billing.change_creditcode",
    "billing.change_dispute",
    "billing.change_fraudwarning",
    "billing.change_ledgeralert",
    "billing.change_planoffer",
    "billing.change_stripeevent",
    "billing.correct_usage",
    "billing.give_goodwill",
    "billing.grant_credits",
    "billing.set_contractprice",
    "billing.view_margins",
)
_OPERATOR = (
    *_NOTES,
    "portal.change_brand",
    "billing.add_priceversion",
    "billing.add_product",
    "billing.add_upstreamstatement",
    "billing.change_ledgeralert",
    "billing.change_priceversion",
    "billing.change_product",
    "billing.delete_priceversion",
)
_STAFF_LOG = Q(content_type__app_label="admin", codename="view_logentry")


def sync_roles(apps: Apps, using: str = "default", **_sent: Any) -> None:
    """Give each group its permissions: after `migrate`, when all of them exist.

    A `migrate` that stops before there are groups is left alone.
    """
    try:
        apps.get_model("auth", "Permission")
    except LookupError:
        return
    wanted = {
        "Support": _VIEWS | _named(_SUPPORT),
        "Finance": _VIEWS | _named(_FINANCE),
        # Of the catalogue, whatever the API's app has.
        "Operator": _VIEWS | _named(_OPERATOR) | Q(content_type__app_label="api"),
        "Auditor": _VIEWS | _STAFF_LOG | _named(("billing.view_margins",)),
        "Owner": Q(content_type__app_label__in=APPS)
        | _STAFF_LOG
        | _named(("portal.change_brand",)),
    }
    for name, condition in wanted.items():
        group, _ = Group.objects.using(using).get_or_create(name=name)
        found = Permission.objects.using(using).filter(condition)
        group.permissions.set(found.values_list("pk", flat=True))


def _named(permissions: tuple[str, ...]) -> Q:
    found = Q()
    for permission in permissions:
        app, _, codename = permission.partition(".")
        found |= Q(content_type__app_label=app, codename=codename)
    return found
