"""Alerts about models that are sold for less than an upstream charges."""

from datetime import datetime

from api.catalogue.snapshot import load_snapshot
from billing.ledger.alerts import LONGEST_REFERENCE, raise_alert
from billing.pricing.margins import rate_pairs, rate_text


def alert_of_losses(now: datetime) -> int:
    """Raise an alert for each route that costs more than its model's price at `now`.

    There is one alert for each pair of a price version and a version of the route's cost. Return
    the number of new ones.
    """
    new = 0
    for model in load_snapshot().ordered:
        prices = model.price_at(now)
        if prices is None:
            continue
        for route in model.routes:
            costs = route.costs_at(now)
            if costs is None:
                continue
            losses = [pair for pair in rate_pairs(prices, costs) if pair.is_below_cost]
            if losses:
                texts = (
                    f"{pair.component.name} ${rate_text(pair.price)} < ${rate_text(pair.cost)}"
                    for pair in losses
                )
                new += raise_alert(
                    "below_cost",
                    f"{model.name} at {route.upstream.name}, price {prices.version_id}, "
                    f"cost {costs.version_id}"[:LONGEST_REFERENCE],
                    f"{model.name} is sold below its cost at {route.upstream.name}: "
                    + "; ".join(dict.fromkeys(texts)),
                )
    return new
