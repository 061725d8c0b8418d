"""Point 9: `/health`, without a key, from what the relay saw."""

import httpx
import pytest

from tests.acceptance.services import HELLO, Service
from tests.support.waiting import eventually


def states(service: Service) -> dict[str, str]:
    """Return what `/health` says of the models."""
    answer = httpx.get(f"{service.url}/health")
    assert answer.status_code == 200
    states: dict[str, str] = answer.json()["models"]
    return states


def call(service: Service, model: str, times: int, simulate: str = "") -> None:
    """Make calls, on whose ends the health is built."""
    with service.client() as client:
        for _ in range(times):
            body = {"model": model, "messages": HELLO, "simulate": simulate}
            client.post("/v1/chat/completions", json=body)


@pytest.mark.parametrize(
    ("service", "names"),
    [
        ("weatmood", ["glm-4.7", "glm-5.2", "qwen3.6-27b"]),
        ("glm5", ["glm-5.2", "glm-5", "kimi-k2", "deepseek-r1"]),
    ],
    indirect=["service"],
)
def test_a09_its_form_is_the_documents_and_its_models_the_services(service, names) -> None:
    answer = httpx.get(f"{service.url}/health").json()
    assert list(answer) == ["status", "version", "models"]
    assert (answer["status"], answer["version"]) == ("ok", "1.0")
    # Nobody needs to call first for the news of another catalogue to arrive.
    eventually(lambda: list(states(service)) == names)


def test_a09_a_models_state_follows_what_the_relay_saw(default: Service) -> None:
    # Models that no other test calls.
    fine, shaky, broken = "GPT_4O", "GPT_4_1", "GROK_4"
    call(default, fine, 6)
    call(default, shaky, 3)
    call(default, shaky, 3, "status=500")
    call(default, broken, 4, "status=503")
    expected = {fine: "operational", shaky: "degraded", broken: "offline"}
    eventually(lambda: expected.items() <= states(default).items(), what=str(states(default)))


def test_a09_the_clients_own_mistakes_tell_nothing_of_a_model(default: Service) -> None:
    call(default, "CLAUDE_4_OPUS", 5, "status=400")
    call(default, "CLAUDE_4_OPUS", 1)
    eventually(
        lambda: default.stack.sql("SELECT 1 FROM api_modelhealth WHERE model = 'CLAUDE_4_OPUS'")
    )
    assert states(default)["CLAUDE_4_OPUS"] == "operational"


def test_a09_a_model_without_a_route_is_offline(default: Service) -> None:
    switch = (
        "UPDATE api_route SET is_enabled = %s FROM api_model m"
        " WHERE m.id = model_id AND m.name = 'SEED_2_0_MINI'"
    )
    default.stack.sql(switch, False)
    try:
        eventually(lambda: states(default)["SEED_2_0_MINI"] == "offline")
    finally:
        default.stack.sql(switch, True)
    eventually(lambda: states(default)["SEED_2_0_MINI"] == "operational")
