"""The form of a price, filled in and published as staff do it: reviewed first."""

from typing import Any

from django.test import Client
from django.urls import reverse

from billing.models import PriceVersion, Product


def price_form(**changes: str) -> dict[str, str]:
    """Return the form of a price that costs nothing, from 2099 on, with changes."""
    names = [field.name for field in PriceVersion._meta.fields if "nanos" in field.name]
    optional = {name: "" for name in names if name.startswith(("cached", "reasoning"))}
    moment = {"effective_from_0": "2099-01-01", "effective_from_1": "00:00:00"}
    zeros = dict.fromkeys(names, "0")
    return {"source": "", "is_free": "on", **zeros, **optional, **moment, **changes}


def add_url(product: Product) -> str:
    """Return the address of the form of a product's new price."""
    return f"{reverse('admin:billing_priceversion_add')}?product={product.pk}"


def publish(staff: Client, url: str, form: dict[str, str]) -> Any:
    """Post the form, and again once it was reviewed. Return the last answer."""
    response = staff.post(url, form)
    if response.status_code != 200 or not response.context["is_reviewed"]:
        return response
    return staff.post(url, form | {"reviewed": response.context["form"].digest})
