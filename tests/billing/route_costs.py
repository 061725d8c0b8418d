"""Costs of routes for tests whose records have cost lines."""

import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from api.models import Model, Route, RouteCost, Upstream
from billing.models import Product


def make_route_cost(**rates: Any) -> RouteCost:
    """Return a version of what a route of its own costs, in force since yesterday."""
    name = uuid.uuid4().hex
    product = Product.objects.create(sku=name)
    model = Model.objects.create(
        name=name, product=product, context_tokens=128_000, max_output_tokens=8_192
    )
    upstream = Upstream.objects.create(name=name, base_url="http://127.0.0.1:9/v1")
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="m")
    return RouteCost.objects.create(
        route=route, effective_from=timezone.now() - timedelta(days=1), **rates
    )
