"""6: `GET /v1/chat/models` gives keys and output limits (WeryAI)."""

import httpx

from tests.acceptance.talk import talk_to
from tests.stack import Stack


def test_a06_chat_models_have_keys_and_output_limits(stack: Stack) -> None:
    with talk_to(stack).client() as client:
        told = client.get("/v1/chat/models").json()
    assert told["object"] == "list"
    models = {model["key"]: model for model in told["data"]}
    gemini = models["GEMINI_25_FLASH"]
    assert (gemini["id"], gemini["object"]) == ("GEMINI_25_FLASH", "model")
    assert gemini["max_output_tokens"] >= gemini["default_max_tokens"] == 1024
    assert (gemini["max_messages"], gemini["supports_web_search"]) == (50, True)
    assert models["deepseek-r1"]["max_output_tokens"] == 8192
    assert not {"glm-image", "cogvideox-3"} & models.keys()


def test_a06_chat_models_need_a_key(stack: Stack) -> None:
    assert httpx.get(f"{stack.base_url}/v1/chat/models").status_code == 401


def test_a06_the_coding_mount_lists_its_own(stack: Stack) -> None:
    with talk_to(stack).client() as client:
        told = client.get("/api/coding/paas/v4/chat/models").json()
    keys = {model["key"] for model in told["data"]}
    assert "glm-4.7" in keys
    assert "kimi-k2" not in keys
