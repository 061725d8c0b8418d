"""Alerts about models that are sold for less than an upstream charges."""

from datetime import datetime

from api.catalogue.snapshot import ModelEntry, load_snapshot
from billing.ledger.alerts import LONGEST_REFERENCE, raise_alert
from billing.pricing.margins import rate_pairs, rate_text


def alert_of_losses(now: datetime) -> int:
    """Raise an alert for each route that costs more than its model's price at `now`.

    There is one alert for each pair of a price version and a version of the route's cost, and one
    for each contract price. Return the number of new ones.
    """
    snapshot = load_snapshot()
    new = sum(_alerts_of(model, now) for model in snapshot.public_models())
    for team_id, own in snapshot.teams.items():
        for model in own.public_models():
            prices = model.price_at(now)
            if prices is not None and prices.contract:
                new += _alerts_of(model, now, team_id)
    return new


def _alerts_of(model: ModelEntry, now: datetime, team_id: int = 0) -> int:
    """Raise an alert for each route that costs more than the model's price, a team's or all's."""
    prices, new = model.price_at(now), 0
    for route in model.routes if prices is not None else ():
        costs = route.costs_at(now)
        if prices is None or costs is None:
            continue
        losses = [pair for pair in rate_pairs(prices, costs) if pair.is_below_cost]
        if losses:
            texts = (
                f"{pair.component.name} ${rate_text(pair.price)} < ${rate_text(pair.cost)}"
                for pair in losses
            )
            contract = f", contract {prices.contract}" if prices.contract else ""
            buyer = f" to team {team_id}, by contract {prices.contract}," if team_id else ""
            new += raise_alert(
                "below_cost",
                f"{model.name} at {route.upstream.name}, price {prices.version_id}, "
                f"cost {costs.version_id}{contract}"[:LONGEST_REFERENCE],
                f"{model.name} is sold{buyer} below its cost at {route.upstream.name}: "
                + "; ".join(dict.fromkeys(texts)),
            )
    return new
