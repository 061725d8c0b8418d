"""Terms of contract prices, a model that they are for, and what a team pays, for tests."""

import uuid
from datetime import timedelta
from typing import Any

from django.utils import timezone

from accounts.models import Team
from api.catalogue.contracts import ContractTerms
from api.catalogue.snapshot import load_snapshot
from api.models import Model, Route, RouteCost, Upstream
from billing.models import PriceVersion, Product
from billing.pricing.rates import Prices
from tests.portal.serving import DOLLAR


def make_model(name: str) -> Product:
    """Make a model at $1 and $4 per million tokens, whose upstream charges half."""
    product = Product.objects.create(sku=name)
    model = Model.objects.create(name=name, product=product)
    upstream, _ = Upstream.objects.get_or_create(name="maker", base_url="http://127.0.0.1/v1")
    route = Route.objects.create(model=model, upstream=upstream, upstream_model="a")
    since = timezone.now() - timedelta(days=2)
    rates = {"input_nanos_per_million": DOLLAR, "output_nanos_per_million": 4 * DOLLAR}
    PriceVersion.objects.create(product=product, effective_from=since, **rates)
    halves = {name: nanos // 2 for name, nanos in rates.items()}
    RouteCost.objects.create(route=route, effective_from=since, **halves)
    return product


def terms(product: Product | None = None, **fields: Any) -> ContractTerms:
    known: dict[str, Any] = {
        "form_id": uuid.uuid4(),
        "product": product,
        "factor_millionths": 850_000,
        "rates": {},
        "starts_at": None,
        "ends_at": None,
        "reason": "Signed on Monday",
    }
    return ContractTerms(**(known | fields))


def prices_of(team: Team, name: str = "alpha") -> Prices:
    """Return what the team pays for a model now."""
    _, prices = load_snapshot().for_team(team.pk).find_priced(name, timezone.now())
    assert prices is not None
    return prices
