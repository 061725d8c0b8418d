"""The page of one request: what led to its charge, computed again and compared."""

import re
import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from accounts.models import User
from api.models import VideoJob
from billing.models import CreditAccount, PriceVersion, Reservation
from tests.billing.ledger_calls import Customer, settle, sweep
from tests.cast import IssuedKey, signed_in
from tests.portal.serving import DOLLAR, customer_of, price_version, request_page, serve

pytestmark = pytest.mark.django_db
CONFIRMED = "Verified: each line below was recomputed"
UNCONFIRMED = "This charge could not be confirmed."


@pytest.fixture
def customer(alices_account: CreditAccount, alices_key: IssuedKey, price: PriceVersion) -> Customer:
    return customer_of(alices_account, alices_key, 5 * DOLLAR)


@pytest.fixture
def price() -> PriceVersion:
    """$0.70 for input, $0.0375 for cached input, $2.50 for output, $3.10 for reasoning."""
    return price_version(
        input_nanos_per_million=700_000_000,
        cached_input_nanos_per_million=37_500_000,
        output_nanos_per_million=2_500_000_000,
        reasoning_nanos_per_million=3_100_000_000,
    )


def test_every_step_to_the_charge_is_shown(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    # 801 * 700 = 560,700; 201 * 37.5 = 7,537.5, rounded half up to 7,538;
    # 470 * 2,500 = 1,175,000; 30 * 3,100 = 93,000. Sum: 1,836,238.
    record = serve(
        customer,
        hold_nanos=2_000_000,
        price_version_id=price.pk,
        input_tokens=1002,
        cached_tokens=201,
        output_tokens=500,
        reasoning_tokens=30,
        input_nanos=560_700,
        cached_nanos=7_538,
        output_nanos=1_175_000,
        reasoning_nanos=93_000,
        source="upstream",
        streamed=True,
        first_token_ms=312,
        latency_ms=4200,
        finish_reason="stop",
        attempts=[
            {
                "upstream": "hidden-name",
                "status": 503,
                "ms": 40,
                "error": "http://10.0.0.5 down",
            },
            {"upstream": "hidden-name", "status": 200, "ms": 3100, "error": ""},
        ],
        upstream="hidden-name",
        upstream_cost_nanos=987_654,
    )
    page = request_page(browser, record.request_id)
    assert CONFIRMED in page
    for shown in (
        "$0.002000000",  # held
        "Failed (503)",
        "Answered",
        "after 3.1 s",
        "312 ms",
        "Counted by the model's provider",
        "In effect since 2026-01-01 00:00:00 UTC",
        "801 x $0.70 per million",
        "201 x $0.0375 per million",
        "7537.5 nanos, rounded half up",
        "$0.000007538",
        "470 x $2.50 per million",
        "30 x $3.10 per million",
        "$0.001836238",
        "$0.000163762, was released",
        "Number 2 of this account",
        "$4.998163762",  # the balance after
    ):
        assert shown in page, shown
    for hidden in ("hidden-name", "10.0.0.5", "987654", "987,654"):
        assert hidden not in page


def test_the_steps_come_in_their_order(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    record = serve(
        customer,
        price_version_id=price.pk,
        input_tokens=10,
        input_nanos=7000,
        source="upstream",
        first_token_ms=5,
        attempts=[{"status": 200, "ms": 3}],
    )
    page = request_page(browser, record.request_id)
    steps = re.findall(r"<h2>\s*(.*?)\s*<", page)
    assert steps == [
        "Quote and reservation",
        "Attempt",
        "First token",
        "Usage",
        "Price version",
        "Settlement",
        "Transfer",
    ]


def test_where_no_own_price_is_set_cached_and_reasoning_cost_as_the_rest(
    browser: Client, customer: Customer
) -> None:
    price = price_version(input_nanos_per_million=10_000_000, output_nanos_per_million=20_000_000)
    record = serve(
        customer,
        price_version_id=price.pk,
        input_tokens=100,
        cached_tokens=40,
        output_tokens=50,
        reasoning_tokens=20,
        input_nanos=600,
        cached_nanos=400,
        output_nanos=600,
        reasoning_nanos=400,
        source="upstream",
    )
    assert CONFIRMED in request_page(browser, record.request_id)


@pytest.mark.parametrize(
    ("field", "nanos"), [("input_nanos", 6999), ("output_nanos", 1), ("units_nanos", 5)]
)
def test_a_charge_that_is_not_its_arithmetic_is_said_loudly(
    browser: Client, customer: Customer, price: PriceVersion, field: str, nanos: int
) -> None:
    billed = {"input_nanos": 7000, "input_tokens": 10, "source": "upstream"} | {field: nanos}
    record = serve(customer, price_version_id=price.pk, **billed)
    page = request_page(browser, record.request_id)
    assert UNCONFIRMED in page
    assert CONFIRMED not in page


def test_a_price_that_is_gone_is_no_confirmation(browser: Client, customer: Customer) -> None:
    record = serve(customer, price_version_id=987_654, output_nanos=5)
    assert UNCONFIRMED in request_page(browser, record.request_id)


def test_a_failed_request_is_free_and_its_hold_released(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    record = serve(
        customer,
        price_version_id=price.pk,
        outcome="upstream_error",
        status=502,
        error="no connection: ConnectError http://10.0.0.5:9000/v1 <b>",
        attempts=[{"upstream": "u", "status": 0, "ms": 3, "error": "http://10.0.0.5:9000"}],
    )
    page = request_page(browser, record.request_id)
    assert CONFIRMED in page
    assert "This request was free." in page
    assert "The reservation of $0.000010000 was released." in page
    assert "This request didn’t change your balance." in page
    assert "10.0.0.5" not in page


@pytest.mark.parametrize(
    ("first_token_ms", "shown", "hidden"),
    [
        (251, "Interrupted", "No answer"),
        (251, "reported no usage for it", "Nothing was delivered"),
        (None, "No answer", "Interrupted"),
        (None, "Nothing was delivered", "reported no usage for it"),
    ],
)
def test_an_attempt_that_delivered_text_is_not_called_unanswered(
    browser: Client,
    customer: Customer,
    price: PriceVersion,
    first_token_ms: int | None,
    shown: str,
    hidden: str,
) -> None:
    record = serve(
        customer,
        price_version_id=price.pk,
        outcome="upstream_error",
        status=502,
        first_token_ms=first_token_ms,
        attempts=[{"status": 0, "ms": 101, "error": "the connection was closed"}],
    )
    page = request_page(browser, record.request_id)
    assert shown in page
    assert hidden not in page


def test_the_error_that_the_program_was_told_is_shown_as_text(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    record = serve(
        customer,
        price_version_id=price.pk,
        outcome="upstream_error",
        status=400,
        error="the upstream answered 400: <script>alert(1)</script> \u202e is too long",
        model="<img src=x onerror=alert(1)>",
        end_user='"><script>alert(2)</script>',
        finish_reason="<b>stop</b>",
    )
    page = request_page(browser, record.request_id)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "&lt;b&gt;stop" in page
    for raw in ("<script>alert", "<img src=x", "<b>stop"):
        assert raw not in page


def test_an_estimate_is_explained(browser: Client, customer: Customer, price: PriceVersion) -> None:
    record = serve(
        customer,
        price_version_id=price.pk,
        outcome="client_closed",
        status=499,
        source="estimated",
        input_tokens=10,
        input_nanos=7000,
    )
    page = request_page(browser, record.request_id)
    assert "Estimated" in page
    assert "reported no usage" in page
    assert "Canceled" in page


def test_an_expired_hold_is_released(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    ask = customer.admitted(hold_seconds=-1, price_version_id=price.pk)
    sweep()
    page = request_page(browser, uuid.UUID(ask.request_id))
    assert "This request wasn’t settled before its reservation expired" in page
    assert "$0.000000100 was released to your balance" in page
    assert CONFIRMED in page


def test_a_late_settlement_says_so(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    ask = customer.admitted(hold_seconds=-1, price_version_id=price.pk)
    sweep()
    used = {"input_tokens": 10, "input_nanos": 7000, "source": "upstream"}
    settle(customer.end(ask, price_version_id=price.pk, **used))
    page = request_page(browser, uuid.UUID(ask.request_id))
    assert "The reservation had already expired when the request was settled" in page
    assert CONFIRMED in page


def test_what_no_credit_covered_is_waived(
    browser: Client, alices_account: CreditAccount, alices_key: IssuedKey, price: PriceVersion
) -> None:
    customer = customer_of(alices_account, alices_key, 5000)
    record = serve(
        customer,
        hold_nanos=5000,
        price_version_id=price.pk,
        input_tokens=10,
        input_nanos=7000,
        source="upstream",
    )
    page = request_page(browser, record.request_id)
    assert "$0.000002000 of the cost was not covered by your credits. You don't owe it." in page
    assert "It cost more than was reserved" in page
    assert CONFIRMED in page


def test_pictures_and_prices_by_the_request_are_counted_by_the_piece(
    browser: Client, customer: Customer
) -> None:
    price = price_version(image_nanos=15_000_000, request_nanos=1_000_000)
    record = serve(
        customer,
        hold_nanos=50_000_000,
        price_version_id=price.pk,
        images=3,
        units_nanos=46_000_000,
        source="upstream",
        endpoint="images_generations",
    )
    page = request_page(browser, record.request_id)
    assert "3 x $0.015 each" in page
    assert "Answered request" in page
    assert "$0.046000000" in page
    assert "3 images" in page
    assert CONFIRMED in page


def test_a_video_is_paid_for_by_the_piece_and_the_second(
    browser: Client, customer: Customer
) -> None:
    price = price_version(piece_nanos=200_000_000, second_nanos=10_000_000)
    record = serve(
        customer,
        hold_nanos=250_000_000,
        price_version_id=price.pk,
        pieces=1,
        seconds=5,
        units_nanos=250_000_000,
        source="upstream",
        endpoint="videos_generations",
    )
    page = request_page(browser, record.request_id)
    assert "5 x $0.01 each" in page
    assert "1 x $0.20 each" in page
    assert CONFIRMED in page


def test_a_request_that_is_under_way_shows_its_hold(
    browser: Client, customer: Customer, price: PriceVersion
) -> None:
    ask = customer.admitted(amount_nanos=200_000_000, price_version_id=price.pk)
    hold = Reservation.objects.get(pk=ask.request_id)
    VideoJob.objects.create(
        id=hold.pk,
        team=customer.team,
        account=customer.account,
        key=customer.key,
        price_version=price,
        model="small",
        surface="v1",
        cost_nanos=200_000_000,
        expires_at=timezone.now() + timedelta(hours=1),
        next_poll_at=timezone.now(),
    )
    page = request_page(browser, hold.pk)
    assert "In progress" in page
    assert "Video in progress" in page
    assert "$0.20 reserved" in page
    assert CONFIRMED not in page


def test_a_free_model_is_answered_for_nothing(browser: Client, customer: Customer) -> None:
    record = serve(
        customer,
        hold_nanos=0,
        price_version_id=price_version().pk,
        input_tokens=10,
        output_tokens=5,
        source="upstream",
    )
    page = request_page(browser, record.request_id)
    assert CONFIRMED in page
    assert "This request was free." in page


def test_another_teams_request_is_not_there(
    charlie: User, charlies_account: CreditAccount, customer: Customer
) -> None:
    done = serve(customer, output_nanos=5)
    under_way = customer.admitted()
    for request_id in (done.request_id, uuid.UUID(under_way.request_id), uuid.uuid4()):
        assert signed_in(charlie).get(f"/usage/requests/{request_id}").status_code == 404


def test_who_is_signed_out_is_asked_to_sign_in(client: Client) -> None:
    assert client.get(f"/usage/requests/{uuid.uuid4()}").status_code == 302


def test_it_takes_at_most_fifteen_queries(
    browser: Client, customer: Customer, django_assert_max_num_queries: Any
) -> None:
    record = serve(customer, output_nanos=5)
    with django_assert_max_num_queries(15):
        browser.get(f"/usage/requests/{record.request_id}")


def test_a_developer_gets_no_link_to_the_statement(bob: User, customer: Customer) -> None:
    record = serve(customer, output_nanos=5)
    browser = signed_in(bob)
    session = browser.session
    session["team"] = customer.team.slug
    session.save()
    assert "/statement" not in request_page(browser, record.request_id)
