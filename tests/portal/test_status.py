"""The status page: the relay's counts as bars, success rates and incidents."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from api.models import Model, ModelHealth, ModelHealthHour, Route, Service
from tests.cast import signed_in

pytestmark = pytest.mark.django_db
HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def weatmood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATOR_URL", "http://127.0.0.1:9")
    call_command("load_catalogue", "weatmood", "--replace", verbosity=0)


def this_hour() -> datetime:
    return timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def counted(model: str, hours_ago: int, succeeded: int, failed: int = 0, **times: int) -> None:
    hour = this_hour() - hours_ago * HOUR
    ModelHealthHour.objects.create(
        model=model, hour=hour, succeeded=succeeded, failed=failed, **times
    )


def status_html(client: Client) -> str:
    return client.get("/status").content.decode()


def model_card(page: str, model: str) -> str:
    return next(
        card for card in re.findall(r'<li class="card">.*?</li>', page, re.S) if model in card
    )


def texts(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_without_requests_it_says_so(client: Client) -> None:
    page = status_html(client)
    assert "No requests have been made yet" in page
    assert "glm-5.2" in page[page.index("No requests in the last 30 days") :]
    assert "Measured incidents" not in page


def test_without_models_it_says_so(client: Client) -> None:
    Model.objects.update(is_enabled=False)
    assert "There are no models yet" in status_html(client)


def test_shares_are_over_thirty_days_and_100_means_every_one(client: Client) -> None:
    counted("glm-5.2", 0, 100_000, 1)
    counted("glm-5.2", 24 * 45, 0, 100_000)  # long ago
    counted("glm-4.7", 0, 50)
    page = status_html(client)
    assert "99.99%" in model_card(page, "glm-5.2")
    assert "100%" in model_card(page, "glm-4.7")


def test_each_day_has_its_bar_by_its_share(client: Client) -> None:
    counted("glm-5.2", 0, 1_000, 2)
    counted("glm-5.2", 24, 95, 5)
    counted("glm-5.2", 48, 10, 30)
    bars = re.findall(r'<rect class="(\w+)"', model_card(status_html(client), "glm-5.2"))
    assert bars == ["none"] * 27 + ["bad", "warn", "good"]


def test_one_or_two_failures_do_not_colour_a_day(client: Client) -> None:
    counted("glm-5.2", 0, 1, 2)
    assert 'rect class="good"' in model_card(status_html(client), "glm-5.2")


def test_times_are_averages_over_the_answers_that_have_them(client: Client) -> None:
    counted("glm-5.2", 0, 4, latency_ms_total=6_000, first_token_ms_total=500, first_token_count=2)
    counted("glm-4.7", 0, 4, latency_ms_total=2_000)
    page = status_html(client)
    assert "First token 0.25 s Full response 1.50 s" in texts(model_card(page, "glm-5.2"))
    assert "First token - Full response 0.50 s" in texts(model_card(page, "glm-4.7"))


def test_the_current_state_is_that_of_health(client: Client) -> None:
    ModelHealth.objects.create(model="glm-5.2", minute=timezone.now(), succeeded=6, failed=4)
    ModelHealth.objects.create(
        model="glm-4.7", minute=timezone.now() - timedelta(minutes=9), succeeded=0, failed=9
    )
    Route.objects.filter(model__name="qwen3.6-27b").update(is_enabled=False)
    counted("glm-5.2", 0, 6, 4)
    page = status_html(client)
    assert "1 of 3 models has problems : glm-5.2" in texts(page)
    assert "Degraded" in model_card(page, "glm-5.2")
    assert "Maintenance" in page[page.index("No requests in the last") :], "it was switched off"


def test_hours_of_trouble_in_a_row_are_one_incident(client: Client) -> None:
    counted("glm-5.2", 30, 100)
    counted("glm-5.2", 29, 50, 50)
    counted("glm-5.2", 28, 2, 98)
    counted("glm-5.2", 27, 100, 1)
    counted("glm-5.2", 20, 70, 30)
    page = status_html(client)
    found = re.findall(r"<li>\s*<div class=\"row\"><strong>(.*?)</li>", page, re.S)
    newest, oldest = (texts(incident) for incident in found)
    began, ended = this_hour() - 29 * HOUR, this_hour() - 27 * HOUR
    assert f"{began:%Y-%m-%d %H:%M:%S} UTC to {ended:%Y-%m-%d %H:%M:%S} UTC" in oldest
    assert "Offline" in oldest
    assert "74.00% of the requests failed" in oldest
    assert "Degraded" in newest
    assert "30.00%" in newest


def test_trouble_that_lasts_ends_now(client: Client) -> None:
    counted("glm-5.2", 0, 0, 9)
    ModelHealth.objects.create(model="glm-5.2", minute=timezone.now(), succeeded=0, failed=9)
    assert "UTC to now." in texts(status_html(client))


def test_models_with_the_same_trouble_share_an_incident(client: Client) -> None:
    for model in ("glm-5.2", "glm-4.7", "gone-model"):
        counted(model, 5, 0, 9)
    page = status_html(client)
    assert len(re.findall(r'<div class="row"><strong>', page)) == 1
    assert "glm-4.7 , glm-5.2" in texts(page)
    assert "gone-model" not in page


def test_a_service_that_is_switched_off_says_so(client: Client) -> None:
    Service.objects.update(is_open=False)
    assert "The API is temporarily unavailable" in status_html(client)


def test_it_tells_no_counts_of_requests(client: Client) -> None:
    counted("glm-5.2", 0, 48_213, 517)
    page = status_html(client)
    assert not {"48213", "48,213", "48730", "48,730", "517"} & set(re.findall(r"[\d,]+", page))


def test_it_takes_few_queries(
    alice: Any, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    counted("glm-5.2", 5, 0, 9)
    browser = signed_in(alice)
    with django_assert_max_num_queries(11):  # three of them the shell's
        browser.get("/status")
