"""The figures of models' pages: what is summed, and when they may be shown."""

from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.models import Team
from api.catalogue import model_figures
from api.models import ModelFigures, ModelHealthHour
from api.tasks import roll_up_model_figures
from billing.ledger import postings
from billing.models import UsageHour
from tests.cast import issue, member

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def used(team: Team, days_ago: int = 0, **sums: int) -> None:
    """Add an hour of a team's use of the model, by a new key."""
    UsageHour.objects.create(
        hour=NOW - timedelta(days=days_ago),
        account=postings.open_account(team),
        key=issue(team, None).key,
        model="small",
        **sums,
    )


def teams(count: int) -> list[Team]:
    return [member(f"owner{n}@example.com", None, f"Owner {n}")[1] for n in range(count)]


def rolled_up() -> ModelFigures:
    assert model_figures.roll_up(NOW) == 1
    return ModelFigures.objects.get(model="small")


def test_requests_are_the_relays_counts_of_thirty_days() -> None:
    for days_ago, succeeded, failed in ((0, 90, 1), (29, 9, 2), (30, 1000, 1000)):
        ModelHealthHour.objects.create(
            model="small",
            hour=NOW - timedelta(days=days_ago),
            succeeded=succeeded,
            failed=failed,
            first_token_ms_total=succeeded * 200,
            first_token_count=succeeded,
        )
    figures = rolled_up()
    assert (figures.succeeded, figures.failed) == (99, 3)
    assert figures.first_token_ms_total == figures.first_token_count * 200 == 99 * 200


def test_speed_is_that_of_hours_with_nothing_but_streams() -> None:
    (team,) = teams(1)
    streams = {"requests": 2, "first_token_count": 2, "latency_ms_total": 5000}
    used(team, **streams, first_token_ms_total=1000, output_tokens=400)
    used(team, requests=2, first_token_count=1, latency_ms_total=9000, output_tokens=7)
    used(team, **streams, errors=1, output_tokens=7)
    used(team, days_ago=30, **streams, output_tokens=7)
    figures = rolled_up()
    assert (figures.streamed_tokens, figures.streamed_ms) == (400, 4000)


def test_a_team_counts_once_whatever_it_uses() -> None:
    one, two = teams(2)
    used(one)
    used(one, days_ago=3)
    used(two)
    used(two, days_ago=40)
    assert rolled_up().teams == 2


def test_a_roll_up_replaces_the_former_one_and_forgets_unused_models() -> None:
    ModelFigures.objects.create(model="former", succeeded=5)
    ModelHealthHour.objects.create(model="small", hour=NOW, succeeded=5)
    assert roll_up_model_figures() == 1
    ModelHealthHour.objects.update(succeeded=7)
    assert roll_up_model_figures() == 1
    assert list(ModelFigures.objects.values_list("model", "succeeded")) == [("small", 7)]


@pytest.mark.parametrize(
    ("teams", "succeeded", "failed", "is_public"),
    [(3, 90, 10, True), (2, 90, 10, False), (3, 89, 10, False), (1, 10_000, 0, False)],
)
def test_few_teams_or_requests_are_not_shown(
    teams: int, succeeded: int, failed: int, is_public: bool
) -> None:
    figures = ModelFigures(model="small", teams=teams, succeeded=succeeded, failed=failed)
    assert figures.is_public is is_public
