"""Weatmood's own samples (curl, Python, Node, fetch, Go), run against its catalogue."""

import json
import re

import pytest

from tests.acceptance import programs
from tests.acceptance.services import Service

pytestmark = pytest.mark.parametrize("service", ["weatmood"], indirect=True)
WORDS = re.compile(r"([a-z]{3} ?)+")  # what the simulator says


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("hello.sh", "glm-5.2"),
        ("system_prompt.sh", "glm-4.7"),
        ("code.sh", "qwen3.6-27b"),
        ("ide.sh", "glm-4.7"),
        ("ide_sum.sh", "glm-4.7"),
    ],
)
def test_a05_its_curl_samples_complete_a_chat(service: Service, name: str, model: str) -> None:
    answer = programs.curl(service, name)
    assert answer["object"] == "chat.completion"
    assert answer["model"] == model
    assert WORDS.fullmatch(answer["choices"][0]["message"]["content"])
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert answer["usage"]["total_tokens"] > answer["usage"]["prompt_tokens"] > 0


def test_a06_its_curl_sample_lists_the_models(service: Service) -> None:
    answer = programs.curl(service, "models.sh")
    assert [model["id"] for model in answer["data"]] == ["glm-4.7", "glm-5.2", "qwen3.6-27b"]


def test_a09_its_curl_sample_asks_for_the_health(service: Service) -> None:
    answer = programs.curl(service, "health.sh")
    assert answer["status"] == "ok"
    assert answer["version"] == "1.0"
    assert list(answer["models"]) == ["glm-4.7", "glm-5.2", "qwen3.6-27b"]


@pytest.mark.parametrize(
    ("name", "model"), [("streaming.sh", "qwen3.6-27b"), ("streaming_story.sh", "glm-5.2")]
)
def test_a24_its_curl_samples_stream_as_its_sample_chunks_show(
    service: Service, name: str, model: str
) -> None:
    events = programs.bash(service, name).strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    chunks = [json.loads(event.removeprefix("data: ")) for event in events[:-1]]
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["model"] for chunk in chunks} == {model}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert all(choice["logprobs"] is None for choice in choices)
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert choices[-1]["delta"] == {}


@pytest.mark.parametrize("name", ["minimal.json", "full.json"])
def test_a13_its_request_bodies_are_taken_as_they_are(service: Service, name: str) -> None:
    body = programs.read_json(service, name)
    with service.client(service.demo_key) as client:
        answer = client.post("/v1/chat/completions", json=body)
    assert answer.status_code == 200
    assert answer.json()["model"] == body["model"]


@pytest.mark.parametrize("name", ["basic.py", "streaming.py", "streaming_count.py"])
def test_a01_its_python_samples_work_with_the_base_url_without_v1(service, name: str) -> None:
    assert WORDS.fullmatch(programs.python(service, name).strip())


def test_a13_its_python_conversation_goes_on_over_several_turns(service: Service) -> None:
    said = programs.python(service, "multi_turn.py", stdin="Hello!\nAnd then?\nexit\n")
    assert said.count("Assistant: ") == 2


def test_a23_its_python_sample_shows_the_thinking_and_the_answer(service: Service) -> None:
    thinking, answer = programs.python(service, "reasoning.py").strip().splitlines()
    assert WORDS.fullmatch(thinking.removeprefix("Thinking: "))
    assert WORDS.fullmatch(answer.removeprefix("Answer: "))


def test_its_retry_strategy_outlasts_an_upstream_that_comes_back(service: Service) -> None:
    # Three requests of the SDK's, two attempts of ours at each: the sample's first call fails.
    script = "status=500&fail_first=6&key=retry"
    call = (
        "payload = {'model': 'glm-5.2', 'messages': [{'role': 'user', 'content': 'Hello!'}],"
        f" 'extra_body': {{'simulate': {script!r}}}}}\n"
        "print(call_with_retry(client, payload).choices[0].message.content)"
    )
    assert WORDS.fullmatch(programs.python(service, "client.py", "retry.py", then=call).strip())
    calls = [call for call in service.stack.journal() if "key=retry" in call["script"]]
    assert [call["status"] for call in calls] == [500] * 6 + [200]


@pytest.mark.parametrize("name", ["basic.mjs", "streaming.mjs"])
def test_a01_its_node_samples_work_with_the_base_url_without_v1(service, name: str) -> None:
    assert WORDS.fullmatch(programs.node(service, name).strip())


def test_a03_its_fetch_sample_works(service: Service) -> None:
    assert WORDS.fullmatch(programs.node(service, "fetch.mjs", needs_openai=False).strip())


def test_a05_its_go_sample_works(service: Service, tmp_path) -> None:
    answer = json.loads(programs.go(service, "hello.go", tmp_path))
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "glm-5.2"
