"""Points 29, 32 and 33: for each chat model of each service, a call whose cost is known by hand.

The tables' figures are worked out from the documents' prices on paper, not by the code: tokens in,
those of them cached, tokens out, and dollars. A prompt of n times "word" has n tokens to the
simulator. (What pictures and videos cost is in their own tests.)
"""

import pytest

from tests.acceptance.services import Service

Row = tuple[int, int, int, str]
WEATMOOD: dict[str, Row] = {
    "glm-4.7": (1000, 0, 300, "0.000690000"),  # 1000 at 0.30, 300 at 1.30
    "glm-5.2": (500, 0, 1000, "0.002850000"),  # the document's own example
    "qwen3.6-27b": (1234, 0, 567, "0.001097300"),  # 1234 at 0.20, 567 at 1.50
}
ANSWIRA: dict[str, Row] = {
    # The document's usage sample: 300 at 0.475, 1200 at 0.08, 200 at 2.00.
    "zai-org/GLM-4.7-FP8": (1500, 1200, 200, "0.000638500"),
}
ZAI: dict[str, Row] = {
    "glm-4.7": (1000, 400, 250, "0.000954000"),
    "glm-4.7-flashx": (1000, 400, 250, "0.000146000"),
    "glm-4.7-flash": (1000, 400, 250, "0.000000000"),
    "glm-4.6v": (1000, 400, 250, "0.000425000"),
    "glm-4.6v-flashx": (1000, 400, 250, "0.000125600"),
    "glm-4.6v-flash": (1000, 400, 250, "0.000000000"),
}
GLM5: dict[str, Row] = {
    "glm-5.2": (500, 0, 1000, "0.008750000"),  # 500 at 2.50, 1000 at 7.50
    "glm-5": (1000, 0, 300, "0.003000000"),
    "kimi-k2": (333, 0, 77, "0.000961500"),
    "deepseek-r1": (1000, 0, 100, "0.002400000"),
}
# 1000 in and 100 out, for each of them.
WERYAI = {
    "GPT_5_5": "0.008000000",
    "GPT_5_4": "0.004000000",
    "CLAUDE_FABLE_5": "0.015000000",
    "CLAUDE_4_8_OPUS": "0.007500000",
    "CLAUDE_4_6_OPUS": "0.007500000",
    "GEMINI_3_5_FLASH": "0.000800000",
    "GEMINI_3_1_PRO": "0.003200000",
    "GPT_5_1": "0.002250000",
    "CLAUDE_4_5_OPUS": "0.007500000",
    "GPT_5": "0.002250000",
    "DEEPSEEK_R1": "0.002400000",
    "KIMI_K2_THINKING": "0.000850000",
    "QWEN_QWQ_32B": "0.000260000",
    "GROK_4": "0.004500000",
    "CLAUDE_SONNET_4_6": "0.004500000",
    "GEMINI_3_1_FLASH_LITE": "0.000400000",
    "QWEN_3_5_PLUS": "0.000640000",
    "GLM_5": "0.002000000",
    "KIMI_K2_5": "0.000900000",
    "CLAUDE_SONNET_4_5": "0.004500000",
    "GPT_4O": "0.003500000",
    "GPT_4_1": "0.002800000",
    "GEMINI_25_PRO": "0.002250000",
    "GLM_4_7_FLASH": "0.000110000",
    "GEMINI_25_FLASH": "0.000550000",
    "SEED_2_0_MINI": "0.000140000",
    "CLAUDE_4_OPUS": "0.022500000",
    "CLAUDE_4_SONNET": "0.004500000",
}
TABLES: dict[str, dict[str, Row]] = {
    "weatmood": WEATMOOD,
    "weryai": {name: (1000, 0, 100, dollars) for name, dollars in WERYAI.items()},
    "answira": ANSWIRA,
    "zai": ZAI,
    "glm5": GLM5,
}
ROWS = [(service, model) for service, table in TABLES.items() for model in table]


def check_cost(service: Service, model: str, row: Row, path: str = "/v1") -> None:
    """Make a call and compares what it cost by header, usage record and balance."""
    prompt, cached, completion, dollars = row
    nanos = int(dollars.replace(".", ""))
    script = f"tokens={completion}" + (f"&cached={cached}" if cached else "")
    before, _ = service.balance()
    with service.client() as client:
        answer = client.post(
            f"{path}/chat/completions",
            json={
                "model": model,
                "messages": [{"role": "user", "content": "word" * prompt}],
                "max_tokens": completion,
                "simulate": script,
            },
        )
    assert answer.status_code == 200, answer.text
    usage = answer.json()["usage"]
    assert usage["prompt_tokens"] == prompt
    assert usage["completion_tokens"] == completion
    assert usage["total_tokens"] == prompt + completion
    assert answer.headers["x-request-cost"] == dollars
    recorded = service.usage(
        answer, "model", "input_tokens", "cached_tokens", "output_tokens", "charged_nanos"
    )
    assert recorded == (model, prompt, cached, completion, nanos)
    assert service.balance() == (before - nanos, 0)


@pytest.mark.parametrize(("service", "model"), ROWS, indirect=["service"])
def test_a33_a_call_costs_what_the_services_prices_say(service: Service, model: str) -> None:
    check_cost(service, model, TABLES[service.name][model])


@pytest.mark.parametrize("service", list(TABLES), indirect=True)
def test_a33_no_chat_model_is_left_out_above(service: Service) -> None:
    with service.client() as client:
        listed = client.get("/v1/chat/models").json()["data"]
    assert [model["id"] for model in listed] == list(TABLES[service.name])


@pytest.mark.parametrize("mount", ["", "/v1", "/api/v1", "/api/paas/v4", "/ide/v1"])
@pytest.mark.parametrize("service", ["weatmood"], indirect=True)
def test_a32_500_in_and_1000_out_cost_0_00285_under_every_mount(service, mount: str) -> None:
    check_cost(service, "glm-5.2", WEATMOOD["glm-5.2"], mount)


@pytest.mark.parametrize("service", ["weatmood"], indirect=True)
def test_a29_streaming_costs_nothing_extra(service: Service) -> None:
    before, _ = service.balance()
    body = {
        "model": "glm-5.2",
        "messages": [{"role": "user", "content": "word" * 500}],
        "simulate": "tokens=1000",
        "stream": True,
    }
    with service.client() as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.text.endswith("data: [DONE]\n\n")
    assert service.usage(answer, "charged_nanos") == 2_850_000
    assert service.balance() == (before - 2_850_000, 0)


@pytest.mark.parametrize("service", ["weatmood"], indirect=True)
def test_a29_system_prompts_and_earlier_turns_count_as_input(service: Service) -> None:
    messages = [
        {"role": "system", "content": "word" * 100},
        {"role": "user", "content": "word" * 30},
        {"role": "assistant", "content": "word" * 20},
        {"role": "user", "content": "word" * 50},
    ]
    body = {"model": "glm-5.2", "messages": messages, "simulate": "tokens=10"}
    with service.client() as client:
        answer = client.post("/v1/chat/completions", json=body)
    # 200 at 0.70 and 10 at 2.50.
    assert answer.headers["x-request-cost"] == "0.000165000"


@pytest.mark.parametrize("service", ["answira"], indirect=True)
def test_a29_without_the_cache_the_whole_prompt_is_at_the_input_price(service: Service) -> None:
    check_cost(service, "zai-org/GLM-4.7-FP8", (1500, 0, 200, "0.001112500"), "/api/v1")
