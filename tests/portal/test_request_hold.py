"""The explanation of a request's hold: it is of what was asked for."""

import uuid

import pytest
from django.test import Client

from api.models import Model
from billing.models import CatalogueVersion, PriceVersion
from tests.billing.ledger_calls import Customer
from tests.portal.serving import price_version, request_page, serve

pytestmark = pytest.mark.django_db


@pytest.fixture
def price() -> PriceVersion:
    """$0.70 for input, $2.50 for output."""
    return price_version(
        input_nanos_per_million=700_000_000, output_nanos_per_million=2_500_000_000
    )


def hold_on(page: str) -> str:
    """Return the explanation of the hold."""
    return page.split("Quote and reservation")[1].split("</li>", maxsplit=1)[0]


@pytest.mark.parametrize("endpoint", ["chat_completions", "completions"])
def test_the_hold_of_a_generated_text_is_explained_by_its_max_tokens(
    browser: Client, customer: Customer, price: PriceVersion, endpoint: str
) -> None:
    record = serve(customer, price_version_id=price.pk, endpoint=endpoint)
    hold = hold_on(request_page(browser, record.request_id))
    assert "with its whole prompt and its <code>max_tokens</code> at the prices below" in hold
    assert "If <code>max_tokens</code> wasn’t set" in hold


def test_the_hold_of_an_embedding_is_explained_by_its_input(
    browser: Client, customer: Customer
) -> None:
    price = price_version(input_nanos_per_million=20_000_000)
    record = serve(
        customer,
        price_version_id=price.pk,
        endpoint="embeddings",
        input_tokens=100,
        input_nanos=2000,
        source="estimated",
    )
    page = request_page(browser, record.request_id)
    assert "with its whole input at the price below" in hold_on(page)
    assert "<dt>Input tokens</dt><dd>100</dd>" in page
    assert "The input was estimated from its length, and never exceeds what was reserved." in page
    for absent in ("max_tokens", "reasoning", "prompt", "Input / output tokens"):
        assert absent not in page, absent
    assert "Verified: each line below was recomputed" in page


@pytest.mark.parametrize("endpoint", ["images_generations", "videos_generations"])
def test_the_hold_of_what_is_priced_by_the_piece_has_no_tokens(
    browser: Client, customer: Customer, endpoint: str
) -> None:
    price = price_version(image_nanos=15_000_000, piece_nanos=15_000_000)
    record = serve(customer, price_version_id=price.pk, endpoint=endpoint)
    hold = hold_on(request_page(browser, record.request_id))
    assert "the most this request could cost.</p>" in hold
    assert "max_tokens" not in hold


@pytest.mark.parametrize(
    ("kind", "says"),
    [("chat", "<code>max_tokens</code>"), ("embedding", "whole input"), ("image", "could cost.")],
)
def test_the_hold_of_a_request_without_a_settlement_is_explained_by_its_models_kind(
    browser: Client, customer: Customer, price: PriceVersion, kind: str, says: str
) -> None:
    Model.objects.create(name=f"a-{kind}", kind=kind, product=price.product, context_tokens=1000)
    if kind == "image":
        price = price_version(image_nanos=15_000_000)
    customer.catalogue_version = CatalogueVersion.objects.get(pk=1).version
    ask = customer.admitted(model=f"a-{kind}", price_version_id=price.pk)
    hold = hold_on(request_page(browser, uuid.UUID(ask.request_id)))
    assert says in hold
    assert ("max_tokens" in hold) == (kind == "chat")
