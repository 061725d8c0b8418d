"""Points 6, 27, 28 and 33: the models lists of the five services, as their documents show them."""

from typing import Any

import httpx
import pytest

from tests.acceptance.services import Service

W_NAMES = ["glm-4.7", "glm-5.2", "qwen3.6-27b"]
A_NAMES = ["zai-org/GLM-4.7-FP8"]
Z_CHAT_NAMES = [
    "glm-4.7", "glm-4.7-flashx", "glm-4.7-flash", "glm-4.6v", "glm-4.6v-flashx", "glm-4.6v-flash",
]  # fmt: skip
Z_NAMES = [*Z_CHAT_NAMES, "glm-image", "cogvideox-3"]
G_NAMES = ["glm-5.2", "glm-5", "kimi-k2", "deepseek-r1"]
Y_NAMES = [
    "GPT_5_5", "GPT_5_4", "CLAUDE_FABLE_5", "CLAUDE_4_8_OPUS", "CLAUDE_4_6_OPUS",
    "GEMINI_3_5_FLASH", "GEMINI_3_1_PRO", "GPT_5_1", "CLAUDE_4_5_OPUS", "GPT_5", "DEEPSEEK_R1",
    "KIMI_K2_THINKING", "QWEN_QWQ_32B", "GROK_4", "CLAUDE_SONNET_4_6", "GEMINI_3_1_FLASH_LITE",
    "QWEN_3_5_PLUS", "GLM_5", "KIMI_K2_5", "CLAUDE_SONNET_4_5", "GPT_4O", "GPT_4_1",
    "GEMINI_25_PRO", "GLM_4_7_FLASH", "GEMINI_25_FLASH", "SEED_2_0_MINI", "CLAUDE_4_OPUS",
    "CLAUDE_4_SONNET",
]  # fmt: skip

# From the documents: context, largest output, dollars per token (in, out). None: not documented.
FIGURES: dict[str, dict[str, tuple[int | None, int | None, str | None, str | None]]] = {
    "weatmood": {
        "glm-4.7": (203_000, None, "0.0000003", "0.0000013"),
        "glm-5.2": (256_000, None, "0.0000007", "0.0000025"),
        "qwen3.6-27b": (262_000, None, "0.0000002", "0.0000015"),
    },
    "answira": {"zai-org/GLM-4.7-FP8": (131_072, 131_072, "0.000000475", "0.000002")},
    "zai": {
        "glm-4.7": (200_000, 128_000, None, None),
        "glm-4.7-flashx": (200_000, 128_000, None, None),
        "glm-4.7-flash": (200_000, 128_000, "0", "0"),
        "glm-4.6v": (128_000, None, None, None),
        "glm-4.6v-flashx": (128_000, None, None, None),
        "glm-4.6v-flash": (128_000, None, "0", "0"),
    },
    "glm5": {
        "glm-5.2": (None, 8192, "0.0000025", "0.0000075"),
        "glm-5": (None, 8192, "0.0000015", "0.000005"),
        "kimi-k2": (None, 8192, "0.0000015", "0.000006"),
        "deepseek-r1": (None, 8192, "0.00000175", "0.0000065"),
    },
}
SUPERSET = {
    "id", "object", "created", "owned_by", "name", "context_length", "max_completion_tokens",
    "reasoning", "supports_files", "supports_images", "input_modalities", "output_modalities",
    "quantization", "pricing", "supported_sampling_parameters", "supported_features", "datacenters",
}  # fmt: skip


def models(service: Service, path: str = "/v1/models") -> dict[str, dict[str, Any]]:
    """Return a models list by the models' names, in its order."""
    with service.client() as client:
        answer = client.get(path)
    assert answer.status_code == 200
    assert answer.json()["object"] == "list"
    return {model["id"]: model for model in answer.json()["data"]}


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("weatmood", W_NAMES),
        ("weryai", Y_NAMES),
        ("answira", A_NAMES),
        ("zai", Z_NAMES),
        ("glm5", G_NAMES),
    ],
    indirect=["service"],
)
def test_a28_each_service_lists_its_documents_models(service: Service, names: list[str]) -> None:
    assert list(models(service)) == names


def test_a28_the_default_service_has_every_name_of_the_five(default: Service) -> None:
    listed = models(default)
    with default.client() as client:
        for name in {*W_NAMES, *Y_NAMES, *A_NAMES, *Z_NAMES, *G_NAMES}:
            assert client.get(f"/v1/models/{name}").json()["id"] == name
            assert name in listed


@pytest.mark.parametrize("service", ["weatmood", "answira", "zai", "glm5"], indirect=True)
def test_a33_contexts_outputs_and_prices_are_the_services_own(service: Service) -> None:
    listed = models(service)
    for name, (context, output, prompt, completion) in FIGURES[service.name].items():
        model = listed[name]
        if context is not None:
            assert model["context_length"] == context, name
        if output is not None:
            assert model["max_completion_tokens"] == output, name
        if prompt is not None:
            assert model["pricing"]["prompt"] == prompt, name
            assert model["pricing"]["completion"] == completion, name


@pytest.mark.parametrize("service", ["weatmood"], indirect=True)
def test_a27_a_model_is_as_weatmood_shows_it(service: Service) -> None:
    shown = {
        "id": "glm-4.7",
        "object": "model",
        "context_length": 203_000,
        "reasoning": True,
        "supports_files": True,
        "supports_images": True,
        "created": 1_700_000_000,
    }
    assert shown.items() <= models(service)["glm-4.7"].items()
    assert all(model["supports_files"] for model in models(service).values())
    assert not models(service)["qwen3.6-27b"]["reasoning"]


@pytest.mark.parametrize("service", ["answira"], indirect=True)
def test_a27_a_model_is_as_answira_shows_it(service: Service) -> None:
    shown = {
        "id": "zai-org/GLM-4.7-FP8",
        "name": "GLM-4.7 FP8",
        "created": 1_737_100_800,
        "context_length": 131_072,
        "max_completion_tokens": 131_072,
        "input_modalities": ["text"],
        "output_modalities": ["text"],
        "quantization": "fp8",
        "pricing": {
            "prompt": "0.000000475",
            "completion": "0.000002",
            "input_cache_read": "0.00000008",
        },
        "supported_sampling_parameters": [
            "temperature", "top_p", "top_k", "frequency_penalty", "presence_penalty",
            "repetition_penalty", "stop", "seed",
        ],
        "supported_features": ["tools", "json_mode", "structured_outputs", "reasoning"],
        "datacenters": [{"country_code": "CZ"}],
    }  # fmt: skip
    assert shown.items() <= models(service, "/api/v1/models")["zai-org/GLM-4.7-FP8"].items()


@pytest.mark.parametrize("mount", ["", "/v1", "/api/v1", "/api/paas/v4", "/ide/v1"])
def test_a27_every_mount_lists_the_same_superset(default: Service, mount: str) -> None:
    listed = models(default, f"{mount}/models")
    assert listed == models(default)
    for name in (*W_NAMES, *A_NAMES, *Z_CHAT_NAMES, *G_NAMES):
        assert listed[name].keys() >= SUPERSET


def test_a28_the_coding_endpoint_lists_coding_models_only(default: Service) -> None:
    listed = models(default, "/api/coding/paas/v4/models")
    assert "glm-4.7" in listed
    assert "glm-4.6v" not in listed
    with default.client() as client:
        assert client.get("/api/coding/paas/v4/models/glm-4.6v").status_code == 404


@pytest.mark.parametrize("service", ["weryai"], indirect=True)
def test_a06_chat_models_tell_keys_and_output_limits(service: Service) -> None:
    listed = models(service, "/v1/chat/models")
    assert [model["key"] for model in listed.values()] == Y_NAMES
    for model in listed.values():
        assert model["max_output_tokens"] >= 1024
        assert model["default_max_tokens"] == 1024
        assert model["max_messages"] == 50
    web = {name for name, model in listed.items() if model["supports_web_search"]}
    assert web == {name for name in Y_NAMES if name.startswith("GEMINI")}


@pytest.mark.parametrize("path", ["/models", "/v1/models", "/v1/chat/models", "/api/v1/models"])
def test_a06_the_lists_are_for_those_with_a_key(default: Service, path: str) -> None:
    assert httpx.get(default.url + path).status_code == 401


def test_a06_a_list_counts_as_no_request_of_the_minute(default: Service) -> None:
    with default.client() as client:
        left = [client.get("/v1/models").headers["x-ratelimit-remaining"] for _ in range(2)]
    assert left[0] == left[1]
