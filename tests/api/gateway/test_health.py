"""The relay's counts of how models do: told to the tables, kept where that fails."""

import asyncio
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from api.gateway.health import Health, state_of
from api.models import ModelHealth, ModelHealthHour


def url() -> str:
    """The address of the tests' database."""
    return psycopg.conninfo.make_conninfo(
        settings.DATABASE_URL, dbname=connection.settings_dict["NAME"]
    )


@pytest.fixture
def health(transactional_db: None) -> Health:
    return Health(url())


def tell(health: Health) -> None:
    asyncio.run(health.close())


def test_answers_are_counted_by_minute_and_by_hour_with_their_times(health: Health) -> None:
    health.succeeded("glm-5.2", latency_ms=900, first_token_ms=100)
    health.succeeded("glm-5.2", latency_ms=300)
    health.failed("glm-5.2")
    health.failed("glm-4.7")
    tell(health)
    health.succeeded("glm-5.2", latency_ms=50, first_token_ms=0)
    tell(health)
    minutes: list[Any] = list(ModelHealth.objects.filter(model="glm-5.2"))
    assert sum(row.succeeded for row in minutes) == 3
    hours: list[Any] = list(ModelHealthHour.objects.filter(model="glm-5.2"))
    assert sum(row.succeeded for row in hours) == 3
    assert sum(row.failed for row in hours) == 1
    assert sum(row.latency_ms_total for row in hours) == 1_250
    assert sum(row.first_token_ms_total for row in hours) == 100
    assert sum(row.first_token_count for row in hours) == 2
    assert ModelHealthHour.objects.filter(model="glm-4.7", succeeded=0, failed=1).exists()


def test_counts_that_could_not_be_told_are_told_later(health: Health) -> None:
    health._database_url = "postgresql://nobody@127.0.0.1:1/none"
    health.succeeded("glm-5.2", latency_ms=900)
    tell(health)
    health.succeeded("glm-5.2", latency_ms=100)
    health._database_url = url()
    tell(health)
    assert ModelHealthHour.objects.get().succeeded == 2
    assert ModelHealthHour.objects.get().latency_ms_total == 1_000


@pytest.mark.parametrize(
    ("succeeded", "failed", "state"),
    [(0, 2, "operational"), (27, 3, "degraded"), (28, 3, "operational"), (0, 3, "offline"),
     (1, 9, "offline"), (0, 0, "operational")],
)  # fmt: skip
def test_the_state_follows_the_share_of_failures(succeeded: int, failed: int, state: str) -> None:
    assert state_of(succeeded, failed) == state
