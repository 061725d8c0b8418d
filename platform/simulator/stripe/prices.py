"""Products and prices, and the lines that invoices have for them."""

from typing import Any

from simulator.stripe.errors import StripeError
from simulator.stripe.form import is_true, whole
from simulator.stripe.store import Store, Thing
from simulator.stripe.webhooks import Webhooks

DAY_SECONDS = 24 * 3600
# A month is thirty days here: time passes by a test's order, and never over the end of February.
INTERVAL_SECONDS = {
    "day": DAY_SECONDS,
    "week": 7 * DAY_SECONDS,
    "month": 30 * DAY_SECONDS,
    "year": 365 * DAY_SECONDS,
}
TAX_PERCENT = 10


def tax_of(cents: int) -> int:
    """Return the tax on an amount, both in cents."""
    return (cents * TAX_PERCENT + 50) // 100


class ProductCatalogue:
    """Products and prices."""

    def __init__(self, store: Store, webhooks: Webhooks) -> None:
        self._store = store
        self._webhooks = webhooks

    def create_product(self, form: dict[str, Any]) -> Thing:
        """Make a product."""
        product = self._store.create(
            "product",
            "prod",
            active=True,
            description=form.get("description"),
            metadata=form.get("metadata", {}),
            name=form.get("name", ""),
            tax_code=form.get("tax_code"),
        )
        self._webhooks.emit("product.created", product)
        return product

    def create(self, form: dict[str, Any]) -> Thing:
        """Make a price of a product; with `recurring`, of a subscription."""
        product = form.get("product") or self.create_product(form.get("product_data", {}))["id"]
        self._store.get("product", product)
        recurring = form.get("recurring")
        if recurring and recurring.get("interval") not in INTERVAL_SECONDS:
            raise StripeError("Invalid recurring[interval]", param="recurring[interval]")
        lookup_key = form.get("lookup_key")
        if lookup_key and self._store.find("price", lookup_key=lookup_key):
            raise StripeError(
                f"A price (`{lookup_key}`) already uses that lookup key.", param="lookup_key"
            )
        cents = whole(form.get("unit_amount"))
        price = self._store.create(
            "price",
            "price",
            active=True,
            billing_scheme="per_unit",
            currency=form.get("currency", "usd"),
            lookup_key=lookup_key,
            metadata=form.get("metadata", {}),
            product=product,
            recurring={"interval_count": 1, "usage_type": "licensed"} | recurring
            if recurring
            else None,
            tax_behavior=form.get("tax_behavior", "unspecified"),
            type="recurring" if recurring else "one_time",
            unit_amount=cents,
            unit_amount_decimal=str(cents),
        )
        self._webhooks.emit("price.created", price)
        return price

    def update(self, kind: str, number: str, form: dict[str, Any]) -> Thing:
        """Change what may change of a `price` or a `product`."""
        thing = self._store.get(kind, number)
        if "active" in form:
            thing["active"] = is_true(form["active"])
        thing |= {name: form[name] for name in ("name", "lookup_key") if name in form}
        thing["metadata"] |= form.get("metadata", {})
        self._webhooks.emit(f"{kind}.updated", thing)
        return thing

    def of_line(self, line: Thing) -> Thing:
        """Return the price that a line names (`price`), or one of its own (`price_data`), which
        serves for nothing else.
        """
        if data := line.get("price_data"):
            price = self.create(data)
            price["active"] = False
            return price
        return self._store.get("price", str(line.get("price")))

    def seconds(self, price: Thing) -> int:
        """Return how long a recurring price pays for."""
        recurring = price["recurring"]
        return INTERVAL_SECONDS[recurring["interval"]] * whole(recurring["interval_count"], 1)

    def invoice_line(
        self,
        price: Thing,
        cents: int,
        *,
        item: str | None = None,
        period: tuple[int, int],
        is_proration: bool = False,
        description: str = "",
    ) -> Thing:
        """Return an invoice's line of an amount, for a period in unix seconds.

        item: the subscription item it is for, if any.
        """
        name = self._store.get("product", price["product"])["name"]
        parent: Thing = {"invoice_item": None, "proration": is_proration, "subscription": None}
        if item is not None:
            parent |= {"subscription_item": item, "proration_details": None}
        kind = "subscription_item_details" if item is not None else "invoice_item_details"
        details = {"price": price["id"], "product": price["product"]}
        line = self._store.make(
            "line_item",
            "il",
            amount=cents,
            currency=price["currency"],
            description=description or name,
            metadata={},
            parent={"type": kind, kind: parent},
            period={"start": period[0], "end": period[1]},
            pricing={
                "type": "price_details",
                "price_details": details,
                "unit_amount_decimal": price["unit_amount_decimal"],
            },
            quantity=1,
            subtotal=cents,
            taxes=[],
        )
        del line["created"]
        return line
