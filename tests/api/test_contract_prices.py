"""Contract prices as staff set them: reviewed, confirmed, in force at once, ended, and proved."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from accounts.audit import Staff
from accounts.models import AuditEntry, Team, User
from api.catalogue import contracts
from api.catalogue.contracts import ContractError, ContractTerms
from api.catalogue.snapshot import load_snapshot
from api.models import RouteCost
from api.tasks import alert_of_losses
from billing.models import (
    ContractPrice,
    CreditAccount,
    LedgerAlert,
    PriceVersion,
    Product,
    UsageHour,
)
from billing.pricing.charge import Usage
from tests.api.contract_terms import make_model, prices_of, terms
from tests.payments.conftest import run_concurrently
from tests.portal.serving import DOLLAR

pytestmark = pytest.mark.django_db

State = ContractPrice.State
USED = Usage(input_tokens=1_000, cached_tokens=100, output_tokens=500)


@pytest.fixture
def product() -> Product:
    """A model at $1 and $4 per million tokens, whose upstream charges half."""
    return make_model("alpha")


@pytest.fixture
def clerk() -> User:
    return User.objects.create_superuser("clerk@example.com", "clerks secret")


@pytest.fixture
def boss() -> User:
    return User.objects.create_superuser("boss@example.com", "boss secret")


@pytest.fixture
def staff(alices_team: Team, alices_account: CreditAccount, clerk: User) -> Staff:
    """The clerk, who acts on Alice's team."""
    return Staff(alices_team, clerk)


def used_for(account: CreditAccount, key: Any, dollars: int, model: str = "alpha") -> None:
    """Let the account have paid so much for a model in the last days."""
    UsageHour.objects.create(
        hour=timezone.now().replace(minute=0, second=0, microsecond=0) - timedelta(days=3),
        account=account,
        key=key,
        model=model,
        requests=1,
        charged_nanos=dollars * DOLLAR,
    )


# In force


def test_it_is_in_force_at_once_for_this_team_only_and_in_both_logs(
    staff: Staff, product: Product
) -> None:
    before = load_snapshot().version
    contract = contracts.request(staff, terms())
    assert contract.state == State.APPROVED
    assert load_snapshot().version == before + 1
    assert prices_of(staff.team).multiplier_millionths == 850_000
    _, listed = load_snapshot().find_priced("alpha", timezone.now())
    assert listed is not None
    assert listed.contract == 0
    entry = AuditEntry.objects.get(team=staff.team, action="contract_price.set")
    assert entry.detail["reason"] == "Signed on Monday"
    assert (entry.detail["for"], entry.detail["terms"]) == ("all models", "85% of the list price")


def test_own_rates_start_from_the_list_price_with_its_tiers(staff: Staff, product: Product) -> None:
    RouteCost.objects.update(cached_input_nanos_per_million=0)
    PriceVersion.objects.update(
        cached_input_nanos_per_million=DOLLAR // 10,
        extra_rates={"search_unit": 5},
        context_tiers=[{"above_input_tokens": 100, "rates": {"output": 5 * DOLLAR}}],
        service_tiers={"priority": 2_000_000},
    )
    contract = contracts.request(staff, terms(product, rates={"output": 3 * DOLLAR, "image": 7}))
    found, rates = prices_of(staff.team), contract.rates
    for each in (found, rates):
        assert (each.of("input"), each.of("cached_input")) == (DOLLAR, DOLLAR // 10)
        assert (each.of("output"), each.of("image"), each.of("search_unit")) == (3 * DOLLAR, 7, 5)
        assert each.at_input(101).of("output") == 5 * DOLLAR
        assert each.at_service_tier("priority").multiplier_millionths == 2_000_000
    PriceVersion.objects.update(output_nanos_per_million=9 * DOLLAR)
    assert prices_of(staff.team).of("output") == 3 * DOLLAR


def test_a_start_in_the_future_and_an_end(staff: Staff, product: Product) -> None:
    now = timezone.now()
    day = timedelta(days=1)
    contract = contracts.request(staff, terms(starts_at=now + day, ends_at=now + 2 * day))
    assert contract.phase == "upcoming"
    model = load_snapshot().for_team(staff.team.pk).find("alpha")
    assert model is not None
    found = [model.price_at(now + days * day / 2) for days in (1, 2, 3, 4)]
    assert [each.contract if each else None for each in found] == [0, contract.pk, contract.pk, 0]


def test_ending_it_restores_the_list_price_and_canceling_it_keeps_it(
    staff: Staff, product: Product
) -> None:
    now = timezone.now()
    running = contracts.request(staff, terms())
    coming = contracts.request(staff, terms(product, starts_at=now + timedelta(days=3)))
    for contract in (running, coming, running):
        contracts.end(staff, contract, "The customer left the program")
    assert prices_of(staff.team).contract == 0
    running.refresh_from_db()
    coming.refresh_from_db()
    assert (running.phase, coming.phase) == ("ended", "canceled")
    assert AuditEntry.objects.filter(action="contract_price.ended").count() == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"factor_millionths": 1_000_000}, "factor"),
        ({"reason": "  "}, "reason"),
        ({"rates": {"input": 1}}, "model"),
        ({"ends_at": timezone.now() - timedelta(days=1)}, "ends_at"),
    ],
)
def test_impossible_terms_are_refused(
    staff: Staff, product: Product, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(ContractError) as refused:
        contracts.request(staff, terms(**changes))
    assert refused.value.field == field
    assert not ContractPrice.objects.exists()


def test_own_rates_of_a_price_with_a_factor_and_of_an_unpriced_model_are_refused(
    staff: Staff, product: Product
) -> None:
    PriceVersion.objects.update(factor_millionths=800_000)
    with pytest.raises(ContractError, match="factor"):
        contracts.request(staff, terms(product, rates={"input": 1}))
    with pytest.raises(ContractError, match="no price"):
        contracts.request(staff, terms(Product.objects.create(sku="new"), rates={"input": 1}))


def test_two_for_the_same_at_a_time_are_refused(staff: Staff, product: Product) -> None:
    now, day = timezone.now(), timedelta(days=1)
    contracts.request(staff, terms(starts_at=now + day, ends_at=now + 3 * day))
    for starts, ends in ((1, 3), (2, None), (0, 2), (0, None)):
        with pytest.raises(ContractError, match="already a contract price"):
            contracts.request(
                staff,
                terms(starts_at=now + starts * day, ends_at=now + ends * day if ends else None),
            )
    contracts.request(staff, terms(starts_at=now + 3 * day))
    contracts.request(staff, terms(product))
    assert ContractPrice.objects.filter(state=State.APPROVED).count() == 3


# A second person


def test_one_that_changes_more_than_the_threshold_waits_for_another_person(
    staff: Staff, product: Product, boss: User, settings: Any, alices_key: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "14"
    used_for(CreditAccount.objects.get(team=staff.team), alices_key.key, 100)
    waiting = contracts.request(staff, terms())  # $15 less
    assert waiting.state == State.PENDING
    assert prices_of(staff.team).contract == 0
    with pytest.raises(ContractError, match="Another member"):
        contracts.approve(waiting, staff.user)

    approved = contracts.approve(waiting, boss)

    assert (approved.state, approved.decided_by) == (State.APPROVED, boss)
    assert approved.effective_from > waiting.effective_from  # never for requests of the past
    assert prices_of(staff.team).contract == waiting.pk
    assert contracts.approve(waiting, boss).effective_from == approved.effective_from
    with pytest.raises(ContractError, match="already approved"):
        contracts.reject(waiting, boss, "Too late")


def test_the_threshold_compares_what_is_covered(
    staff: Staff, product: Product, settings: Any, alices_key: Any
) -> None:
    settings.STAFF_APPROVAL_DOLLARS = "14"
    other = make_model("beta")
    used_for(CreditAccount.objects.get(team=staff.team), alices_key.key, 100, "beta")
    assert contracts.request(staff, terms(product)).state == State.APPROVED
    assert contracts.request(staff, terms(other)).state == State.PENDING
    dearer = terms(None, factor_millionths=1_150_000)
    assert contracts.request(staff, dearer).state == State.PENDING


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"factor_millionths": 400_000}, "alpha: Input tokens: $0.40 per million"),
        (
            {"rates": {"output": DOLLAR}},
            "Output tokens: $1.00 per million, but maker charges $2.00",
        ),
    ],
)
def test_one_below_cost_waits_for_another_person_and_is_an_alert(
    staff: Staff, product: Product, boss: User, changes: dict[str, Any], text: str
) -> None:
    asked = terms(product if "rates" in changes else None, **changes)
    review = contracts.review_of(contracts.contract_of(staff.team, asked))
    assert any(text in loss for loss in review.losses)
    waiting = contracts.request(staff, asked)
    assert (waiting.state, alert_of_losses()) == (State.PENDING, 0)
    contracts.approve(waiting, boss)
    assert (alert_of_losses(), alert_of_losses()) == (1, 0)
    alert = LedgerAlert.objects.get()
    assert f"to team {staff.team.pk}, by contract {waiting.pk}," in alert.detail


def test_a_rejected_one_never_applies_and_makes_room(
    staff: Staff, product: Product, boss: User
) -> None:
    waiting = contracts.request(staff, terms(factor_millionths=400_000))
    with pytest.raises(ContractError, match="already"):
        contracts.request(staff, terms())
    contracts.reject(waiting, boss, "Below cost")
    contracts.reject(waiting, boss, "Below cost")
    with pytest.raises(ContractError, match="already rejected"):
        contracts.approve(waiting, boss)
    assert prices_of(staff.team).contract == 0
    assert AuditEntry.objects.filter(action="contract_price.rejected").count() == 1
    assert contracts.request(staff, terms()).state == State.APPROVED


# Once


def test_a_form_sent_twice_adds_one(staff: Staff, product: Product) -> None:
    form = terms()
    assert contracts.request(staff, form) == contracts.request(staff, form)
    assert ContractPrice.objects.count() == 1
    assert AuditEntry.objects.filter(action="contract_price.set").count() == 1


class _KilledError(Exception):
    """Stands for the end of the process."""


def test_a_process_that_dies_while_it_sets_one_has_set_nothing(
    staff: Staff, product: Product
) -> None:
    def die(_name: str) -> None:
        raise _KilledError

    form = terms()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contracts, "failpoint", die)
        with pytest.raises(_KilledError):
            contracts.request(staff, form)
    assert not ContractPrice.objects.exists()
    assert prices_of(staff.team).contract == 0
    assert contracts.request(staff, form).state == State.APPROVED


@pytest.mark.django_db(transaction=True)
def test_of_many_at_once_for_the_same_one_is_set(staff: Staff, product: Product) -> None:
    def ask(form: ContractTerms) -> bool:
        try:
            contracts.request(staff, form)
        except ContractError:
            return False
        return True

    forms = [terms(), *[terms(factor_millionths=900_000) for _ in range(4)]]
    results = run_concurrently(*[lambda form=form: ask(form) for form in forms])
    assert sorted(results) == [False] * 4 + [True]
    assert ContractPrice.objects.filter(state=State.APPROVED).count() == 1
    same = terms(product)
    made = run_concurrently(*[lambda: contracts.request(staff, same).pk] * 4)
    assert len(set(made)) == 1
