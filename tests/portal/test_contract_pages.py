"""Contract prices on pages: set and ended by staff, confirmed by a second person, shown to all."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.audit import Staff
from accounts.models import Team, User
from api.catalogue import contracts
from billing.models import ContractPrice, CreditAccount, Product
from billing.pricing.charge import Usage, charge_of
from tests.api.contract_terms import make_model, prices_of, terms
from tests.cast import IssuedKey, signed_in
from tests.portal.serving import DOLLAR, customer_of, serve

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.usefixtures("books_are_right"),
    # The tests' client reads the stream at once, and Django says so.
    pytest.mark.filterwarnings("ignore:StreamingHttpResponse must consume"),
]


@pytest.fixture
def product() -> Product:
    """A model at $1 and $4 per million tokens, whose upstream charges half."""
    return make_model("alpha")


@pytest.fixture
def team(alices_account: CreditAccount, alices_team: Team) -> Team:
    return alices_team


@pytest.fixture
def clerk(team: Team) -> Staff:
    """A member of staff who acts on the team."""
    user = User.objects.create_superuser("clerk@example.com", "clerks secret")
    return Staff(team, user)


def send(browser: Client, team: Team, **fields: str) -> Any:
    form = {"id": str(uuid.uuid4()), "factor": "", "reason": "Signed", **fields}
    url = f"/admin/customers/{team.pk}/contract"
    return form, url, browser.post(url, form)


def test_the_effect_is_shown_before_it_is_set(staff: Client, team: Team, product: Product) -> None:
    form, url, answer = send(staff, team, factor="0.4")
    page = answer.content.decode()
    assert not ContractPrice.objects.exists()
    assert "after a second person has confirmed it" in page
    assert "alpha: Input tokens: $0.40 per million, but maker charges $0.50." in page
    reviewed = form | {"reviewed": answer.context["form"].data["reviewed"]}
    other = staff.post(url, reviewed | {"factor": "0.9"})
    assert other.status_code == 200, "other terms are reviewed again"
    assert not ContractPrice.objects.exists()
    assert staff.post(url, reviewed).status_code == 302
    assert staff.post(url, reviewed).status_code == 302, "a form sent twice"
    assert ContractPrice.objects.get().factor_millionths == 400_000


def test_own_rates_are_entered_for_one_model(staff: Client, team: Team, product: Product) -> None:
    form, url, answer = send(staff, team, model=str(product.pk), rate_output="3")
    assert "without a second person" in answer.content.decode()
    staff.post(url, form | {"reviewed": answer.context["form"].data["reviewed"]})
    prices = prices_of(team)
    assert (prices.of("input"), prices.of("output")) == (DOLLAR, 3 * DOLLAR)
    assert "own rates" in staff.get(f"/admin/customers/{team.pk}").content.decode()
    contract = ContractPrice.objects.get()
    page = staff.get(reverse("admin:billing_contractprice_change", args=[contract.pk]))
    assert "output tokens $3.00 per million" in page.content.decode()


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"factor": "0"}, "factor"),
        ({"factor": "0.001"}, "factor"),
        ({"factor": "11"}, "factor"),
        ({"factor": "1"}, "factor"),
        ({"factor": "cheap"}, "factor"),
        ({"rate_input": "1"}, "model"),
        ({"factor": "0.9", "model": "999"}, "model"),
        ({"factor": "0.9", "ends_at_0": "2020-01-01", "ends_at_1": "00:00"}, "ends_at"),
        ({"factor": "0.9", "starts_at_0": "2020-01-01", "starts_at_1": "00:00"}, "starts_at"),
        ({"factor": "0.9", "reason": " "}, "reason"),
    ],
)
def test_a_slip_is_named_at_its_field(
    staff: Client, team: Team, product: Product, fields: dict[str, str], field: str
) -> None:
    _, _, answer = send(staff, team, **fields)
    assert set(answer.context["form"].errors) == {field}
    assert not ContractPrice.objects.exists()


def test_a_second_person_confirms_or_rejects_it(
    staff: Client, clerk: Staff, team: Team, product: Product
) -> None:
    waiting = contracts.request(clerk, terms(factor_millionths=400_000))
    assert "1 contract price to confirm" in staff.get("/admin/").content.decode()
    url = f"/admin/billing/contractprice/{waiting.pk}/"
    own = signed_in(clerk.user).post(f"{url}approve/")
    assert "Another member of staff must confirm" in own.content.decode()
    assert "after a second person" in staff.get(f"{url}approve/").content.decode()
    assert staff.post(f"{url}reject/", {"reason": ""}).status_code == 200
    waiting.refresh_from_db()
    assert waiting.state == "pending"
    assert staff.post(f"{url}approve/").status_code == 302
    assert prices_of(team).contract == waiting.pk
    another = contracts.request(
        clerk, terms(product, rates={"output": 1}, factor_millionths=1_000_000)
    )
    url = f"/admin/billing/contractprice/{another.pk}/"
    assert staff.post(f"{url}reject/", {"reason": "Far too low"}).status_code == 302
    another.refresh_from_db()
    assert another.state == "rejected"


def test_the_customer_sees_it_wherever_prices_are(
    staff: Client, clerk: Staff, product: Product, alice: User, alices_key: IssuedKey
) -> None:
    team, browser = clerk.team, signed_in(alice)
    assert "Contract prices" not in browser.get("/billing").content.decode()
    contract = contracts.request(clerk, terms(factor_millionths=900_000))
    coming = timezone.now() + timedelta(days=9)
    contracts.request(clerk, terms(product, starts_at=coming))
    contracts.request(
        clerk,
        terms(make_model("beta"), factor_millionths=300_000),  # below cost: it waits
    )
    billing = browser.get("/billing").content.decode()
    assert "90% of the list price" in billing
    assert "Upcoming" in billing
    assert "30%" not in billing
    models = browser.get("/docs/models").content.decode()
    assert "Contract price" in models
    assert "$0.90" in models
    public = Client().get("/docs/models").content.decode()
    assert "Contract price" not in public
    assert "$1.00" in public

    prices = prices_of(team)
    charge = charge_of(prices, Usage(input_tokens=10, output_tokens=10))
    account = CreditAccount.objects.get(team=team)
    record = serve(
        customer_of(account, alices_key, DOLLAR),
        model="alpha",
        hold_nanos=100_000,
        price_version_id=prices.version_id,
        input_tokens=10,
        output_tokens=10,
        source="upstream",
        lines=charge.lines,
        input_nanos=charge.input_nanos,
        output_nanos=charge.output_nanos,
    )
    page = browser.get(f"/usage/requests/{record.pk}").content.decode()
    assert "Your team's contract price: 90% of the list price" in page
    assert "Verified" in page
    shown = staff.get(f"/admin/billing/usagerecord/{record.pk}/change/").content.decode()
    assert f"/admin/billing/contractprice/{contract.pk}/change/" in shown
    rows = b"".join(browser.get("/usage.csv")).decode().splitlines()  # type: ignore[arg-type]
    assert rows[0].split(",")[17] == "contract"
    assert rows[1].split(",")[17] == str(contract.pk)

    ContractPrice.objects.filter(pk=contract.pk).update(factor_millionths=800_000)
    wrong = browser.get(f"/usage/requests/{record.pk}").content.decode()
    assert "This charge could not be confirmed" in wrong
    ContractPrice.objects.filter(pk=contract.pk).update(factor_millionths=900_000)
