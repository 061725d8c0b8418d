"""The shipped catalogue files say what the five documents say, to the digit.

The tables here are worked out by hand from the documents (W Weatmood, Y WeryAI, A Answira, Z Z.AI,
G GLM5.app), not from the files.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import call_command

from accounts.models import Plan
from api.catalogue.snapshot import ModelEntry, Snapshot, load_snapshot
from billing.pricing.charge import Usage, charge_of
from billing.pricing.money import nanos_from_dollars
from billing.pricing.rates import Prices

pytestmark = pytest.mark.django_db
NAMES = ["default", "weatmood", "weryai", "answira", "zai", "glm5"]
SOON = datetime.now(UTC) + timedelta(days=1)

Load = Callable[[str], Snapshot]


@pytest.fixture
def load_anew(monkeypatch: pytest.MonkeyPatch) -> Load:
    """Return what brings the database to a shipped catalogue, and reads it."""
    monkeypatch.setenv("SIMULATOR_URL", "http://simulator:9100")

    def run(name: str) -> Snapshot:
        call_command("load_catalogue", name, "--replace", stdout=StringIO())
        return load_snapshot()

    return run


@pytest.fixture(scope="module")
def _loaded() -> dict[str, Snapshot]:
    return {}


@pytest.fixture
def load(load_anew: Load, _loaded: dict[str, Snapshot]) -> Load:
    """Return what reads a shipped catalogue, each once: the database may not have it any more."""

    def run(name: str) -> Snapshot:
        if name not in _loaded:
            _loaded[name] = load_anew(name)
        return _loaded[name]

    return run


def prices_of(entry: ModelEntry) -> Prices:
    prices = entry.price_at(SOON)
    assert prices is not None
    return prices


def names_of(snapshot: Snapshot) -> list[str]:
    return [entry.name for entry in snapshot.public_models()]


W_NAMES = ["glm-4.7", "glm-5.2", "qwen3.6-27b"]
A_NAMES = ["zai-org/GLM-4.7-FP8"]
Z_NAMES = [
    "glm-4.7", "glm-4.7-flashx", "glm-4.7-flash", "glm-4.6v", "glm-4.6v-flashx", "glm-4.6v-flash",
    "glm-image", "cogvideox-3",
]  # fmt: skip
G_NAMES = ["glm-5.2", "glm-5", "kimi-k2", "deepseek-r1"]
Y_NAMES = [
    "GPT_5_5", "GPT_5_4", "CLAUDE_FABLE_5", "CLAUDE_4_8_OPUS", "CLAUDE_4_6_OPUS",
    "GEMINI_3_5_FLASH", "GEMINI_3_1_PRO", "GPT_5_1", "CLAUDE_4_5_OPUS", "GPT_5",
    "DEEPSEEK_R1", "KIMI_K2_THINKING", "QWEN_QWQ_32B", "GROK_4", "CLAUDE_SONNET_4_6",
    "GEMINI_3_1_FLASH_LITE", "QWEN_3_5_PLUS", "GLM_5", "KIMI_K2_5", "CLAUDE_SONNET_4_5",
    "GPT_4O", "GPT_4_1", "GEMINI_25_PRO", "GLM_4_7_FLASH", "GEMINI_25_FLASH", "SEED_2_0_MINI",
    "CLAUDE_4_OPUS", "CLAUDE_4_SONNET",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_every_shipped_file_loads_and_twice_is_once(load_anew: Load, name: str) -> None:
    snapshot = load_anew(name)
    assert load_anew(name) == snapshot
    assert len(snapshot.ordered) > 0
    for entry in snapshot.ordered:
        assert entry.routes[0].upstream.base_url == "http://simulator:9100/v1"
        assert entry.price_at(SOON) is not None


@pytest.mark.parametrize(
    ("catalogue", "names"),
    [
        ("weatmood", W_NAMES),
        ("answira", A_NAMES),
        ("zai", Z_NAMES),
        ("glm5", G_NAMES),
        ("weryai", Y_NAMES),
    ],
)
def test_a28_each_service_has_its_documents_models(
    load: Load, catalogue: str, names: list[str]
) -> None:
    assert names_of(load(catalogue)) == names


def test_a28_the_default_serves_every_name_of_the_five(load: Load) -> None:
    assert len(Y_NAMES) == 28
    snapshot = load("default")
    every = {*W_NAMES, *A_NAMES, *Z_NAMES, *G_NAMES, *Y_NAMES}
    assert set(names_of(snapshot)) == every | {
        "text-embedding-3-small",
        "rerank-v3.5",
        "omni-moderation-latest",
        "tts-1",
        "gpt-image-1",
        "whisper-1",
        "gpt-4o-transcribe",
    }
    assert [name for name in every if snapshot.find(name) is None] == []
    alias = snapshot.find("gemini-2.5-flash")
    assert alias is not None
    assert alias.name == "GEMINI_25_FLASH"


@pytest.mark.parametrize(
    ("catalogue", "brand", "prefix"),
    [
        ("default", "Tollgate", "sk-tg-"),
        ("weatmood", "Weatmood", "weatmood-"),
        ("weryai", "WeryAI", "sk-"),
        ("answira", "Answira", "sk-answira-"),
        ("zai", "Z.AI", "sk-zai-"),
        ("glm5", "GLM 5", "sk-glm5-"),
    ],
)
def test_a02_each_service_has_its_brand_and_key_prefix(
    load: Load, catalogue: str, brand: str, prefix: str
) -> None:
    service = load(catalogue).service
    assert (service.name, service.key_prefix) == (brand, prefix)


# catalogue, model, input and output per million; context; largest output (0: the document is mute)
PRICED = [
    ("weatmood", "glm-4.7", "0.30", "1.30", 203_000, 0),
    ("weatmood", "glm-5.2", "0.70", "2.50", 256_000, 0),
    ("weatmood", "qwen3.6-27b", "0.20", "1.50", 262_000, 0),
    ("answira", "zai-org/GLM-4.7-FP8", "0.475", "2.00", 131_072, 131_072),
    ("glm5", "glm-5.2", "2.50", "7.50", 0, 8192),
    ("glm5", "glm-5", "1.50", "5.00", 0, 8192),
    ("glm5", "kimi-k2", "1.50", "6.00", 0, 8192),
    ("glm5", "deepseek-r1", "1.75", "6.50", 0, 8192),
    ("zai", "glm-4.7-flash", "0", "0", 200_000, 128_000),
    ("zai", "glm-4.6v-flash", "0", "0", 128_000, 0),
    ("default", "glm-5.2", "0.70", "2.50", 256_000, 0),
    ("default", "glm-4.7", "0.30", "1.30", 203_000, 128_000),
    ("default", "qwen3.6-27b", "0.20", "1.50", 262_000, 0),
    ("default", "zai-org/GLM-4.7-FP8", "0.475", "2.00", 131_072, 131_072),
    ("default", "glm-5", "1.50", "5.00", 0, 8192),
    ("default", "kimi-k2", "1.50", "6.00", 0, 8192),
    ("default", "deepseek-r1", "1.75", "6.50", 0, 8192),
    ("default", "glm-4.7-flash", "0", "0", 200_000, 128_000),
]


@pytest.mark.parametrize(("catalogue", "name", "input_", "output", "context", "most"), PRICED)
def test_a33_prices_and_contexts_are_the_documents(
    load: Load, catalogue: str, name: str, input_: str, output: str, context: int, most: int
) -> None:
    entry = load(catalogue).models[name]
    prices = prices_of(entry)
    assert prices.input_nanos_per_million == nanos_from_dollars(input_)
    assert prices.output_nanos_per_million == nanos_from_dollars(output)
    assert entry.context_tokens == context or not context
    assert entry.max_output_tokens == most or not most


def test_a33_contexts_of_the_models_without_prices(load: Load) -> None:
    models = load("zai").models
    for name in ("glm-4.7", "glm-4.7-flashx"):
        assert (models[name].context_tokens, models[name].max_output_tokens) == (200_000, 128_000)
    for name in ("glm-4.6v", "glm-4.6v-flashx"):
        assert models[name].context_tokens == 128_000
        assert "image" in models[name].input_modalities


@pytest.mark.parametrize("catalogue", ["weatmood", "default"])
def test_a32_500_in_and_1000_out_on_glm_5_2_cost_2_850_000_nanos(
    load: Load, catalogue: str
) -> None:
    prices = prices_of(load(catalogue).models["glm-5.2"])
    used = Usage(input_tokens=500, output_tokens=1000)
    assert charge_of(prices, used).total_nanos == 2_850_000


@pytest.mark.parametrize("catalogue", ["answira", "default"])
def test_a29_cached_input_costs_8_cents_a_million(load: Load, catalogue: str) -> None:
    prices = prices_of(load(catalogue).models["zai-org/GLM-4.7-FP8"])
    assert prices.cached_input_nanos_per_million == 80_000_000


@pytest.mark.parametrize("catalogue", ["zai", "default"])
def test_a29_an_image_costs_15_thousandths_a_video_20_cents_and_free_is_free(
    load: Load, catalogue: str
) -> None:
    models = load(catalogue).models
    assert charge_of(prices_of(models["glm-image"]), Usage(images=1)).total_nanos == 15_000_000
    assert charge_of(prices_of(models["cogvideox-3"]), Usage(pieces=1)).total_nanos == 200_000_000
    assert "1280x1280" in models["glm-image"].image_sizes
    assert "1920x1080" in models["cogvideox-3"].image_sizes
    for name in ("glm-4.7-flash", "glm-4.6v-flash"):
        used = Usage(input_tokens=10**9, output_tokens=10**9)
        assert charge_of(prices_of(models[name]), used).total_nanos == 0
        assert models[name].requests_per_minute is not None


@pytest.mark.parametrize(
    ("catalogue", "name", "max_tokens", "temperature", "top_p", "messages"),
    [
        ("weatmood", "glm-5.2", 16384, 0.7, None, None),
        ("weryai", "GEMINI_25_FLASH", 1024, 1.0, 1.0, 50),
        ("glm5", "glm-5.2", 8192, None, None, None),
        ("answira", "zai-org/GLM-4.7-FP8", None, 0.7, 1.0, None),
        ("zai", "glm-4.7", None, None, None, None),
        ("default", "glm-5.2", 16384, 0.7, None, None),
        ("default", "GEMINI_25_FLASH", 1024, 1.0, 1.0, 50),
    ],
)
def test_a15_a16_a13_defaults_and_message_limits(
    load: Load,
    catalogue: str,
    name: str,
    max_tokens: int | None,
    temperature: float | None,
    top_p: float | None,
    messages: int | None,
) -> None:
    entry = load(catalogue).models[name]
    assert entry.default_max_tokens == max_tokens
    assert (entry.default_temperature, entry.default_top_p) == (temperature, top_p)
    assert entry.max_messages == messages


@pytest.mark.parametrize("catalogue", ["glm5", "default"])
def test_a19_deepseek_r1_alone_refuses_tools(load: Load, catalogue: str) -> None:
    models = load(catalogue).models
    assert models["deepseek-r1"].refused_by({"tools"}) == "tools"
    assert models["deepseek-r1"].refused_by({"tool_choice"}) == "tool_choice"
    for name in ("glm-5.2", "glm-5", "kimi-k2"):
        assert models[name].refused_by({"tools", "tool_choice"}) is None
        assert "tools" in models[name].features


@pytest.mark.parametrize("catalogue", ["weryai", "default"])
def test_a21_gemini_refuses_web_search_with_a_json_schema(load: Load, catalogue: str) -> None:
    snapshot = load(catalogue)
    both = {"plugins.web", "response_format.json_schema"}
    refusing = [name for name in Y_NAMES if snapshot.models[name].refused_by(both)]
    assert sorted(refusing) == sorted(name for name in Y_NAMES if name.startswith("GEMINI"))
    assert all("web_search" in snapshot.models[name].features for name in refusing)
    for shown in both:
        assert snapshot.models["GEMINI_25_PRO"].refused_by({shown}) is None


@pytest.mark.parametrize("catalogue", ["weryai", "default"])
def test_a21_every_model_of_weryais_takes_plugins(load: Load, catalogue: str) -> None:
    snapshot = load(catalogue)
    assert all(snapshot.models[name].allows("plugins.web") for name in Y_NAMES)


@pytest.mark.parametrize("catalogue", ["weatmood", "answira", "zai", "glm5"])
def test_the_other_catalogues_allow_nothing_that_they_do_not_price(
    load: Load, catalogue: str
) -> None:
    assert not any(entry.allowed_parameters for entry in load(catalogue).ordered)


def test_a27_the_models_list_is_the_superset_of_both_documents(load: Load) -> None:
    listing = load("answira").models["zai-org/GLM-4.7-FP8"].listing(SOON)
    documented = {
        "id": "zai-org/GLM-4.7-FP8",
        "name": "GLM-4.7 FP8",
        "created": 1737100800,
        "context_length": 131072,
        "max_completion_tokens": 131072,
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "quantization": "fp8",
        "pricing": {
            "prompt": "0.000000475",
            "completion": "0.000002",
            "input_cache_read": "0.00000008",
        },
        "supported_sampling_parameters": [
            "temperature",
            "top_p",
            "top_k",
            "frequency_penalty",
            "presence_penalty",
            "repetition_penalty",
            "stop",
            "seed",
        ],
        "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
        "datacenters": [{"country_code": "CZ"}],
    }
    assert {key: listing[key] for key in documented} == documented
    listing = load("weatmood").models["glm-4.7"].listing(SOON)
    documented = {
        "id": "glm-4.7",
        "object": "model",
        "context_length": 203000,
        "reasoning": True,
        "supports_files": True,
        "supports_images": True,
        "created": 1700000000,
    }
    assert {key: listing[key] for key in documented} == documented


def test_a27_pictures_and_videos_are_listed_with_their_own_prices(load: Load) -> None:
    models = load("zai").models
    assert models["glm-image"].listing(SOON)["pricing"]["image"] == "0.015"
    assert models["cogvideox-3"].listing(SOON)["pricing"]["video"] == "0.2"
    assert "context_length" not in models["glm-image"].listing(SOON)


def test_a06_the_list_of_chat_models_gives_keys_and_output_limits(load: Load) -> None:
    listing = load("weryai").models["GPT_5_5"].chat_listing(SOON)
    assert listing["id"] == listing["key"] == "GPT_5_5"
    assert listing["name"] == "GPT-5.5"
    assert listing["max_output_tokens"] == listing["max_completion_tokens"] == 128_000
    assert listing["default_max_tokens"] == 1024


def test_a14_only_what_the_document_shows_takes_pictures_and_all_three_take_files(
    load: Load,
) -> None:
    models = load("weatmood").models
    assert [name for name in W_NAMES if "image" in models[name].input_modalities] == ["glm-4.7"]
    assert [name for name in W_NAMES if "file" in models[name].input_modalities] == W_NAMES
    assert [name for name in W_NAMES if "reasoning" in models[name].features] == W_NAMES[:2]


@pytest.mark.parametrize("name", NAMES)
def test_a34_60_requests_and_120_000_tokens_a_minute_by_default(load_anew: Load, name: str) -> None:
    load_anew(name)
    plan = Plan.objects.get(is_default=True)
    assert (plan.requests_per_minute, plan.tokens_per_minute) == (60, 120_000)


def test_a01_the_coding_surface_has_the_models_of_the_glm_4_7_family(load: Load) -> None:
    coding = ["glm-4.7", "glm-4.7-flashx", "glm-4.7-flash"]
    assert [entry.name for entry in load("zai").public_models(coding_only=True)] == coding
    assert [entry.name for entry in load("default").public_models(coding_only=True)] == coding
