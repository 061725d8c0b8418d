"""Importing an upstream's price list: the formats, the rule, what is new, and the page."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts.models import User
from api.catalogue.import_models import PriceRule, make_import, plan_import
from api.catalogue.price_lists import Offer, PriceListError, parse_list
from api.catalogue.snapshot import load_snapshot
from api.models import Model, Route, RouteCost, Upstream
from billing.models import PriceVersion, Product
from tests.cast import signed_in

pytestmark = pytest.mark.django_db

OPENROUTER = {
    "data": [
        {
            "id": "maker/alpha",
            "name": "Maker: Alpha",
            "context_length": 200_000,
            "architecture": {"input_modalities": ["text", "image", "smell"]},
            "pricing": {
                "prompt": "0.00000125",
                "completion": "0.00001",
                "input_cache_read": "0.000000125",
                "input_cache_write": "0.0000015625",
                "image": "0.005",
                "internal_reasoning": "0",
            },
            "top_provider": {"max_completion_tokens": 64_000},
        },
        {"id": "maker/free", "pricing": {"prompt": "0", "completion": "0"}},
        {"id": "auto", "pricing": {"prompt": "-1", "completion": "-1"}},
        {"id": "odd name!", "pricing": {"prompt": "1", "completion": "1"}},
        {"id": "broken", "pricing": {"prompt": "much"}},
        {"id": "unpriced"},
        "no entry",
    ]
}
LITELLM = {
    "sample_spec": {"input_cost_per_token": 0.0, "mode": "one of chat, embedding"},
    "alpha": {
        "litellm_provider": "maker",
        "mode": "chat",
        "max_input_tokens": 128_000,
        "max_output_tokens": 16_384,
        "input_cost_per_token": 2.5e-06,
        "output_cost_per_token": 1e-05,
        "cache_read_input_token_cost": 1.25e-06,
        "supports_vision": True,
    },
    "embed": {"litellm_provider": "maker", "mode": "embedding", "input_cost_per_token": 2e-08},
    "paint": {"litellm_provider": "maker", "mode": "image_generation"},
    "other": {"litellm_provider": "else", "mode": "chat", "input_cost_per_token": 1e-06},
}
CSV = "model, input, output, cached_input, context_tokens\nalpha, $1.25, 10, , 5000\nbeta,0,0,,\n"
RULE = PriceRule(1_300_000, 10_000_000, 0)


def parsed(content: Any, *only: str) -> tuple[dict[str, Offer], list[str]]:
    text = content if isinstance(content, str) else json.dumps(content)
    offers, skipped = parse_list(text.encode(), list(only))
    return {offer.name: offer for offer in offers}, skipped


def test_openrouters_list() -> None:
    offers, skipped = parsed(OPENROUTER)
    assert list(offers) == ["maker/alpha", "maker/free"]
    alpha = offers["maker/alpha"]
    assert alpha.costs == {
        "input": 1_250_000_000,
        "output": 10_000_000_000,
        "cached_input": 125_000_000,
        "cache_write": 1_562_500_000,
    }
    assert (alpha.title, alpha.context_tokens, alpha.max_output_tokens) == (
        "Maker: Alpha",
        200_000,
        64_000,
    )
    assert alpha.input_modalities == ["text", "image"]
    assert offers["maker/free"].costs == {"input": 0, "output": 0}
    assert [line.partition(":")[0] for line in skipped] == [
        "auto",
        "odd name!",
        "broken",
        "unpriced",
    ]
    assert "varies" in skipped[0]


def test_litellms_list() -> None:
    offers, skipped = parsed(LITELLM)
    assert offers["alpha"].costs == {
        "input": 2_500_000_000,
        "output": 10_000_000_000,
        "cached_input": 1_250_000_000,
    }
    assert offers["alpha"].input_modalities == ["text", "image"]
    assert offers["embed"].kind == "embedding"
    assert skipped == ["paint: image_generation models are not imported"]
    assert list(parsed(LITELLM, "maker/*")[0]) == ["alpha", "embed"]
    assert list(parsed(LITELLM, "oth*", "embed")[0]) == ["embed", "other"]


def test_csv() -> None:
    offers, _ = parsed(CSV)
    assert offers["alpha"].costs == {"input": 1_250_000_000, "output": 10_000_000_000}
    assert offers["alpha"].context_tokens == 5_000
    assert offers["beta"].costs == {"input": 0, "output": 0}


LONG_CELL = "a" * 200_000


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[1", "model,price\na,1", "input,output\n1,2", "3", "null", '"x"'),
        f'{{"data": [{{"id": "a", "pricing": {{"prompt": 1e{"9" * 20}}}}}]}}',
        f"model,input\n{LONG_CELL},1",
        f"model,{LONG_CELL}\na,1",
    ],
)
def test_what_is_no_list_is_refused(text: str) -> None:
    with pytest.raises(PriceListError):
        parse_list(text.encode(), [])


def test_hostile_entries_are_left_out() -> None:
    entries = [
        {"id": "a", "pricing": {"prompt": "NaN"}},
        {"id": "b", "pricing": {"prompt": "1e400"}},
        {"id": "c", "pricing": {"prompt": "-0.1"}},
        {"id": "d", "pricing": {"prompt": "1e9"}},
        {"id": "e", "pricing": {"prompt": "0.1"}, "context_length": "x"},
        {"id": "f", "pricing": {"prompt": "1e999999990"}},
        {"id": 5, "pricing": []},
    ]
    offers, skipped = parsed({"data": entries})
    assert (offers, len(skipped)) == ({}, 7)


def test_the_rule_rounds_up_and_has_a_minimum() -> None:
    assert RULE.price_of("input", 1_250_000_000) == 1_630_000_000  # $1.625
    assert RULE.price_of("input", 0) == 0
    assert RULE._replace(minimum_nanos=50_000_000).price_of("output", 1) == 50_000_000
    assert RULE._replace(minimum_nanos=50_000_000).price_of("cached_input", 0) == 0
    assert RULE.price_of("image", 7) == 10  # 9.1, and no step: it is not per million


@pytest.fixture
def upstream() -> Upstream:
    return Upstream.objects.create(name="maker", base_url="http://simulator:9100/v1")


def offers(**costs: int) -> list[Offer]:
    return [
        Offer(name=name, costs={"input": nanos, "output": 2 * nanos}, context_tokens=1000)
        for name, nanos in costs.items()
    ]


def run(upstream: Upstream, listed: list[Offer], **options: Any) -> list[str]:
    """Import, and return what was done with each model."""
    moment = options.pop("moment", timezone.now())
    options = {"reprices": False, **options}
    plans = make_import(upstream, listed, RULE, moment, source="a list", **options)
    return [f"{plan.state} {', '.join(plan.problems)}".strip() for plan in plans]


def test_new_models_can_be_called_at_once_at_their_price(upstream: Upstream) -> None:
    planned = plan_import(upstream, offers(alpha=10**9), RULE, timezone.now(), reprices=False)
    assert [plan.state for plan in planned] == ["New"]
    assert not Model.objects.exists()
    run(upstream, offers(alpha=10**9))
    entry = load_snapshot().models["alpha"]
    price = entry.price_at(timezone.now())
    assert price is not None
    assert (price.input_nanos_per_million, price.output_nanos_per_million) == (
        13 * 10**8,
        26 * 10**8,
    )
    cost = entry.routes[0].costs_at(timezone.now())
    assert cost is not None
    assert cost.input_nanos_per_million == 10**9
    assert (entry.context_tokens, entry.kind) == (1000, "chat")
    assert PriceVersion.objects.get().source == "a list"
    # Again: nothing is new.
    assert run(upstream, offers(alpha=10**9)) == ["Unchanged"]
    assert (PriceVersion.objects.count(), RouteCost.objects.count()) == (1, 1)


def test_a_changed_cost_is_a_new_version_and_the_price_changes_only_if_asked(
    upstream: Upstream,
) -> None:
    run(upstream, offers(alpha=10**9))
    assert run(upstream, offers(alpha=11 * 10**8)) == ["Changed"]
    assert (PriceVersion.objects.count(), RouteCost.objects.count()) == (1, 2)
    assert run(upstream, offers(alpha=11 * 10**8), reprices=True) == ["Changed"]
    assert PriceVersion.objects.count() == 2


def test_a_second_upstream_of_a_model_has_its_own_cost(upstream: Upstream) -> None:
    run(upstream, offers(alpha=10**9))
    other = Upstream.objects.create(name="other", base_url="http://simulator:9100/v2")
    assert run(other, offers(alpha=2 * 10**9)) == ["New below cost"]
    assert Model.objects.count() == 1
    costs = RouteCost.objects.order_by("route__upstream__name")
    assert [cost.input_nanos_per_million for cost in costs] == [2 * 10**9, 10**9][::-1]
    # A price that follows the cheap one would be below the cost of the other.
    assert run(upstream, offers(alpha=10**9 + 1), reprices=True) == ["Changed below cost"]


def test_all_of_it_applies_from_a_moment_on(upstream: Upstream) -> None:
    moment = timezone.now() + timedelta(days=3)
    run(upstream, offers(alpha=10**9), moment=moment)
    entry = load_snapshot().models["alpha"]
    assert entry.price_at(timezone.now()) is None
    assert entry.price_at(moment) is not None
    (what,) = run(upstream, offers(alpha=2 * 10**9), moment=moment, reprices=True)
    assert "another cost begins at this moment" in what
    assert "another price begins at this moment" in what
    assert RouteCost.objects.get().input_nanos_per_million == 10**9


def test_a_name_that_another_models_product_has_is_left_out(upstream: Upstream) -> None:
    Model.objects.create(name="renamed", product=Product.objects.create(sku="alpha"))
    (what,) = run(upstream, offers(alpha=10**9))
    assert "another model's product" in what
    assert not Route.objects.exists()


# The page.

FORM = {"factor": "1.3", "step": "0.01", "minimum": "0", "only": "", "text": ""}


def test_staff_preview_and_import(staff: Client, upstream: Upstream) -> None:
    url = reverse("admin:api_upstream_import_models", args=[upstream.pk])
    assert staff.get(url).status_code == 200
    upload = SimpleUploadedFile("models.json", json.dumps(OPENROUTER).encode())
    preview = staff.post(url, FORM | {"file": upload, "only": "maker/*"})
    page = preview.content.decode()
    assert "New: 2" in page
    assert "$1.25 / $0.125 / $10.00" in page
    assert "$1.63 / $0.17 / $13.00" in page
    assert "23%" in page
    assert not Model.objects.exists()

    again = FORM | {"offers": preview.context["form"].listed_json, "_import": "1"}
    assert staff.post(url, again).status_code == 302
    assert Model.objects.count() == 2
    assert LogEntry.objects.get().change_message == "Imported 2 models from maker."
    text = staff.post(url, FORM | {"text": CSV, "_import": "1"})
    assert text.status_code == 302
    assert Model.objects.count() == 4


def test_a_loss_is_refused_unless_a_box_says_so(staff: Client, upstream: Upstream) -> None:
    url = reverse("admin:api_upstream_import_models", args=[upstream.pk])
    form = FORM | {"text": CSV, "factor": "0.9", "_import": "1"}
    assert staff.post(url, form).context["form"].errors.keys() == {"is_loss"}
    assert not Model.objects.exists()
    assert staff.post(url, form | {"is_loss": "on"}).status_code == 302
    assert Model.objects.count() == 2


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({}, "file"),
        ({"text": "{"}, "file"),
        ({"text": CSV, "only": "nothing"}, "file"),
        ({"offers": "[{}]"}, "file"),
        ({"offers": '[{"name": "a", "costs": {"unheard": 1}}]'}, "file"),
        ({"text": CSV, "factor": "0"}, "factor"),
        ({"text": CSV, "moment_0": "2020-01-01", "moment_1": "00:00:00"}, "moment"),
    ],
)
def test_a_slip_in_the_form_is_named(
    staff: Client, upstream: Upstream, changes: dict[str, str], field: str
) -> None:
    url = reverse("admin:api_upstream_import_models", args=[upstream.pk])
    response = staff.post(url, FORM | changes | {"_import": "1"})
    assert field in response.context["form"].errors
    assert not Model.objects.exists()


def test_only_who_may_add_all_of_it_imports(upstream: Upstream, alice: User) -> None:
    url = reverse("admin:api_upstream_import_models", args=[upstream.pk])
    clerk = User.objects.create_user("clerk@example.com", is_staff=True)
    names = ["change_upstream", "add_model", "add_route", "add_routecost"]
    clerk.user_permissions.set(Permission.objects.filter(codename__in=names))
    assert signed_in(clerk).post(url, FORM | {"text": CSV, "_import": "1"}).status_code == 403
    assert signed_in(alice).get(url).status_code == 302
    assert not Model.objects.exists()
