"""Proration: what a change of price within a period costs or gives back."""

from simulator.stripe.prices import ProductCatalogue
from simulator.stripe.store import Thing


def proration_lines(prices: ProductCatalogue, item: Thing, new: Thing, now: int) -> list[Thing]:
    """Return two invoice lines for the rest of an item's period: the old price's unused part given
    back, and the new price's part (docs.stripe.com/billing/subscriptions/prorations).
    """
    start, end = item["current_period_start"], item["current_period_end"]
    now = min(max(now, start), end)
    share = (end - now) / (end - start)
    old = item["price"]
    about = {"item": item["id"], "period": (now, end), "is_proration": True}
    back = prices.invoice_line(
        old, -round(old["unit_amount"] * share), description="Unused time on the old price", **about
    )
    rest = prices.invoice_line(
        new,
        round(new["unit_amount"] * share),
        description="Remaining time on the new price",
        **about,
    )
    return [back, rest]
