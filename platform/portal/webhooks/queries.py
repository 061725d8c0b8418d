"""A team's endpoints and deliveries, as its pages list them."""

from dataclasses import dataclass

from django.db.models import QuerySet

from accounts.models import Team, WebhookDelivery, WebhookEndpoint
from portal.ui.paging import PAGE_ROWS


@dataclass(frozen=True)
class DeliveryPage:
    """A page of an endpoint's deliveries, the newest first; ids beside which its neighbours are."""

    deliveries: list[WebhookDelivery]
    newer: int | None
    older: int | None


def endpoints_of(team: Team) -> QuerySet[WebhookEndpoint]:
    """Return the team's endpoints."""
    return WebhookEndpoint.objects.filter(team=team).order_by("pk")


def deliveries_of(team: Team) -> QuerySet[WebhookDelivery]:
    """Return the deliveries to the team's endpoints, each with its event and endpoint."""
    found = WebhookDelivery.objects.filter(endpoint__team=team)
    return found.select_related("event", "endpoint")


def delivery_page(
    endpoint: WebhookEndpoint, *, before: int | None = None, after: int | None = None
) -> DeliveryPage:
    """Return the newest page, the one before (older than) an id, or the one after it."""
    found = endpoint.deliveries.select_related("event")
    if after is not None:
        rows = list(found.filter(pk__gt=after).order_by("pk")[: PAGE_ROWS + 1])
        has_newer, has_older = len(rows) > PAGE_ROWS, True
        rows = rows[:PAGE_ROWS][::-1]
    else:
        older = found.filter(pk__lt=before) if before is not None else found
        rows = list(older.order_by("-pk")[: PAGE_ROWS + 1])
        has_newer, has_older = before is not None, len(rows) > PAGE_ROWS
        rows = rows[:PAGE_ROWS]
    return DeliveryPage(
        rows,
        newer=rows[0].pk if rows and has_newer else None,
        older=rows[-1].pk if rows and has_older else None,
    )
