"""The exported catalogue can be loaded anywhere, and changes nothing where it comes from."""

import tomllib
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import Plan, User
from api.catalogue.check import CATALOGUES
from api.catalogue.export import export_catalogue
from api.catalogue.snapshot import load_snapshot
from api.models import Model, Route, RouteCost, Service, Upstream, UpstreamKey
from api.upstream_keys import store_secret
from billing.models import CatalogueVersion, PlanOffer, PriceVersion, Product
from tests.cast import signed_in

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIMULATOR_URL", "http://simulator:9100")


def load(name: str) -> str:
    out = StringIO()
    call_command("load_catalogue", name, stdout=out)
    return out.getvalue()


def reload(folder: Path, text: str, name: str = "any") -> str:
    path = folder / f"{name}.toml"
    path.write_text(text)
    return load(str(path))


def version() -> int:
    return CatalogueVersion.objects.get().version


@pytest.mark.parametrize("name", sorted(path.stem for path in CATALOGUES.glob("*.toml")))
def test_loading_the_export_of_a_shipped_catalogue_changes_nothing(
    tmp_path: Path, name: str
) -> None:
    load(name)
    text, before = export_catalogue(), version()
    assert reload(tmp_path, text) == "any.toml: nothing to change\n"
    assert version() == before
    assert export_catalogue() == text


@pytest.fixture
def edited() -> None:
    """A catalogue that staff have edited in every way."""
    load("default")
    now = timezone.now()
    Service.objects.update(name='A "quoted" \\ name', tagline="Zeile\x7f \u00fc \U0001f600")
    upstream = Upstream.objects.first()
    assert upstream is not None
    for name, secret in (("default", "sk-very-secret-key-0123"), ("spare", "sk-very-secret-4567")):
        key, _ = UpstreamKey.objects.get_or_create(upstream=upstream, name=name)
        store_secret(key, secret, now)
        key.save()
    UpstreamKey.objects.filter(name="spare").update(weight=3, requests_per_minute=60)
    UpstreamKey.objects.create(
        upstream=upstream, name="variable", api_key_env="UPSTREAM_THIRD", is_enabled=False
    )
    one, two = Model.objects.order_by("pk")[:2]
    one.created_at = now
    one.description = 'Several\nlines, "quoted"'
    one.default_temperature = 0.3
    one.refused_parameters = ["tools", "plugins.web"]
    one.position = 500
    one.is_enabled = False
    one.save()
    for days in (1, 2):
        PriceVersion.objects.create(
            product=two.product,
            effective_from=now + timedelta(days=days),
            input_nanos_per_million=days,
            cached_input_nanos_per_million=0,
            output_nanos_per_million=37_500_000,
            extra_rates={"cache_write": 5},
            factor_millionths=850_000,
            service_tiers={"flex": 500_000},
            context_tiers=[{"above_input_tokens": 10, "rates": {"input": 7, "output": 9}}],
            source="a list",
        )
    route = two.routes.first()
    assert route is not None
    RouteCost.objects.create(route=route, effective_from=now + timedelta(days=3), image_nanos=4)
    Route.objects.create(
        model=two, upstream=upstream, upstream_model="other", weight=7, is_enabled=False
    )
    Model.objects.create(name="unpriced", product=Product.objects.create(sku="unpriced"))
    plan = Plan.objects.create(name="sold", title="Sold")
    PlanOffer.objects.create(plan=plan, price_cents=1999, credit_nanos=5, position=9)


def test_loading_the_export_of_an_edited_catalogue_changes_nothing(
    tmp_path: Path, edited: None
) -> None:
    text, before = export_catalogue(), version()
    assert reload(tmp_path, text) == "any.toml: nothing to change\n"
    assert version() == before
    assert '# "unpriced" has no price, and is left out.' in text
    stored = UpstreamKey.objects.values_list("encrypted_key", flat=True).exclude(encrypted_key="")
    for secret in ("very-secret", '0123"', '4567"', *stored):
        assert secret not in text
    spare = next(
        key
        for each in tomllib.loads(text)["upstreams"]
        for key in each.get("keys", [])
        if key["name"] == "spare"
    )
    assert spare == {"name": "spare", "weight": 3, "requests_per_minute": 60}


def without_sources(text: str) -> dict[str, Any]:
    """Return the catalogue; a rate without a source gets its model's when it is loaded again."""
    catalogue = tomllib.loads(text)
    for model in catalogue["models"]:
        for route in model["routes"]:
            for table in (route.get("cost", {}), *route.get("next_costs", [])):
                table.pop("source", None)
        for table in (model["prices"], *model.get("next_prices", [])):
            table.pop("source", None)
    return catalogue


def test_an_empty_database_becomes_the_same_by_it(tmp_path: Path, edited: None) -> None:
    text = export_catalogue()
    snapshot = load_snapshot()
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        cursor.execute(
            "TRUNCATE api_service, api_upstream, api_model, api_modelalias, api_route,"
            " api_routecost, billing_product, billing_priceversion, billing_planoffer CASCADE"
        )
        cursor.execute("DELETE FROM accounts_plan")
    reload(tmp_path, text)
    assert without_sources(export_catalogue()) == without_sources(text)
    again = load_snapshot()
    assert [model.name for model in again.ordered] == [
        model.name for model in snapshot.ordered if model.prices
    ]


def test_the_command_prints_what_a_file_would_change_and_changes_nothing(
    tmp_path: Path, edited: None
) -> None:
    text = export_catalogue()
    out = StringIO()
    call_command("export_catalogue", stdout=out)
    assert out.getvalue() == text
    path = tmp_path / "new.toml"

    def diff(content: str) -> str:
        path.write_text(content)
        printed = StringIO()
        call_command("export_catalogue", "--diff", str(path), stdout=printed)
        return printed.getvalue()

    assert diff(text) == "nothing to change\n"
    before = version()
    changed = diff(text.replace("weight = 7", "weight = 8"))
    assert "-weight = 7\n+weight = 8\n" in changed
    assert (export_catalogue(), version()) == (text, before)
    with pytest.raises(CommandError, match="weight"):
        diff(text.replace("weight = 7", "weight = -7"))


# The page.


def test_staff_download_the_catalogue_and_compare_a_file(staff: Client, edited: None) -> None:
    url = reverse("admin:api_model_export")
    text, before = export_catalogue(), version()
    assert url in staff.get(reverse("admin:api_model_changelist")).content.decode()
    page = staff.get(url)
    assert page.status_code == 200
    assert "very-secret" not in page.content.decode()
    sent = staff.get(url, {"download": ""})
    assert sent.content.decode() == text
    assert 'filename="default.toml"' in sent["Content-Disposition"]

    same = staff.post(url, {"text": text})
    assert same.context["form"].is_same
    other = staff.post(url, {"text": text.replace("weight = 7", "weight = 8")})
    assert "+weight = 8" in other.content.decode()
    upload = SimpleUploadedFile("mine.toml", text.replace("weight = 7", "weight = 0").encode())
    wrong = staff.post(url, {"file": upload})
    assert "mine.toml: models[" in wrong.content.decode()
    assert staff.post(url, {"text": ""}).context["form"].non_field_errors()
    assert version() == before


def test_only_who_sees_every_part_sees_the_export(alice: User, edited: None) -> None:
    url = reverse("admin:api_model_export")
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    clerk.user_permissions.set(Permission.objects.filter(codename__in=["view_model", "view_route"]))
    assert signed_in(clerk).get(url).status_code == 403
    assert signed_in(clerk).get(url, {"download": ""}).status_code == 403
    assert signed_in(alice).get(url).status_code == 302
