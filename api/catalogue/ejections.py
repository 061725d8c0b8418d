"""What staff are told of routes that were ejected (`api/gateway/breaker.py`)."""

from datetime import UTC, datetime, timedelta

from api.models import RouteEjection
from billing.ledger.alerts import LONGEST_REFERENCE, raise_alert

LOOKED_BACK = timedelta(hours=2)


def alert_of_ejections(now: datetime) -> int:
    """Raise an alert for each route that was ejected lately: once per hour, route and key.

    Return the number of new alerts.
    """
    found = RouteEjection.objects.filter(ejected_at__gt=now - LOOKED_BACK)
    new = 0
    for ejection in found.select_related("route__model", "route__upstream", "key").order_by(
        "ejected_at"
    ):
        hour = ejection.ejected_at.astimezone(UTC)
        by_key = f" by the key {ejection.key.name}" if ejection.key else ""
        new += raise_alert(
            "route_ejected",
            f"{hour:%Y-%m-%d %Hh} {ejection.label}"[:LONGEST_REFERENCE],
            f"The route to {ejection.route.upstream_model}{by_key} failed ({ejection.reason}). "
            "The model's other routes take its requests until it works again.",
        )
    return new
