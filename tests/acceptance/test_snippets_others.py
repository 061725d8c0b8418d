"""The samples of WeryAI, Answira, Z.AI and GLM5.app, each run against its own catalogue."""

import json
import re
from typing import Any

import pytest

from tests.acceptance import programs
from tests.acceptance.services import Service

WORDS = re.compile(r"([a-z]{3} ?)+")
SHOW = "print(response.to_json())"


def of(name: str) -> pytest.MarkDecorator:
    """Run a test against the service of a catalogue."""
    return pytest.mark.parametrize("service", [name], indirect=True)


def post(service: Service, path: str, body: Any) -> Any:
    """Return the answer to a body that a document shows."""
    with service.client(service.demo_key) as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer.json()


@of("weryai")
def test_a05_weryais_curl_sample_completes_a_chat(service: Service) -> None:
    answer = programs.curl(service, "chat.sh")
    assert answer["id"].startswith("chatcmpl-")
    assert answer["model"] == "GEMINI_25_FLASH"
    (choice,) = answer["choices"]
    assert choice["message"]["role"] == "assistant"
    assert WORDS.fullmatch(choice["message"]["content"])


@of("weryai")
def test_a21_weryais_plugin_sample_reaches_the_upstream(service: Service) -> None:
    plugins = programs.read_json(service, "web_search.json")
    messages = [{"role": "user", "content": "What is new?"}]
    post(
        service,
        "/v1/chat/completions",
        {"model": "GEMINI_25_FLASH", "messages": messages, **plugins},
    )
    assert service.stack.journal(limit="1")[0]["params"]["plugins"] == [{"id": "web"}]


@of("answira")
def test_a05_answiras_curl_sample_completes_a_chat(service: Service) -> None:
    assert programs.curl(service, "quick_start.sh")["model"] == "zai-org/GLM-4.7-FP8"


@of("answira")
@pytest.mark.parametrize("name", ["quick_start.py", "streaming.py"])
def test_a01_answiras_python_samples_work_under_api_v1(service: Service, name: str) -> None:
    assert WORDS.fullmatch(programs.python(service, name).strip())


@of("answira")
def test_a01_answiras_node_sample_works_under_api_v1(service: Service) -> None:
    assert WORDS.fullmatch(programs.node(service, "quick_start.mjs").strip())


@of("answira")
def test_a13_answiras_request_body_is_taken_as_it_is(service: Service) -> None:
    answer = post(service, "/api/v1/chat/completions", programs.read_json(service, "chat.json"))
    assert WORDS.fullmatch(answer["choices"][0]["message"]["content"])


@of("answira")
def test_a07_answiras_legacy_body_is_taken_as_it_is(service: Service) -> None:
    answer = post(service, "/api/v1/completions", programs.read_json(service, "completions.json"))
    assert answer["object"] == "text_completion"
    assert WORDS.fullmatch(answer["choices"][0]["text"])


@of("answira")
def test_a19_answiras_sample_gets_a_tool_called(service: Service) -> None:
    said = programs.python(service, "client.py", "tool_calling.py", then=SHOW)
    (choice,) = json.loads(said)["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    assert "city" in json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"])


@of("answira")
def test_a20_answiras_json_mode_sample_gets_json(service: Service) -> None:
    said = programs.python(service, "client.py", "json_mode.py", then=SHOW)
    assert isinstance(json.loads(json.loads(said)["choices"][0]["message"]["content"]), dict)


@of("answira")
def test_a20_answiras_schema_sample_gets_what_matches_the_schema(service: Service) -> None:
    said = programs.python(service, "client.py", "structured_outputs.py", then=SHOW)
    person = json.loads(json.loads(said)["choices"][0]["message"]["content"])
    assert {name: type(value) for name, value in person.items()} == {
        "name": str,
        "age": int,
        "city": str,
    }


@of("zai")
@pytest.mark.parametrize("mount", ["/api/paas/v4", "/api/coding/paas/v4"])
def test_a01_zais_request_body_is_taken_under_both_endpoints(service: Service, mount: str) -> None:
    answer = post(service, f"{mount}/chat/completions", programs.read_json(service, "chat.json"))
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "glm-4.7"


@of("zai")
def test_a14_zais_message_with_an_image_is_taken_by_a_vision_model(service: Service) -> None:
    message = programs.read_json(service, "multimodal_message.json")
    body = {"model": "glm-4.6v", "messages": [message]}
    answer = post(service, "/api/paas/v4/chat/completions", body)
    assert WORDS.fullmatch(answer["choices"][0]["message"]["content"])


@of("zai")
def test_a10_zais_body_makes_a_picture(service: Service) -> None:
    path = "/api/paas/v4/images/generations"
    answer = post(service, path, programs.read_json(service, "image.json"))
    assert set(answer) == {"created", "data"}
    (picture,) = answer["data"]
    assert picture["url"].startswith("data:image/png;base64,")


@of("zai")
def test_a11_zais_body_orders_a_video_that_can_be_asked_for(service: Service) -> None:
    path = "/api/paas/v4/videos"
    order = post(service, f"{path}/generations", programs.read_json(service, "video.json"))
    assert order["id"].startswith("video-")
    assert order["status"] == "processing"
    with service.client(service.demo_key) as client:
        assert client.get(f"{path}/{order['id']}").json() == order


@of("glm5")
def test_a05_glm5s_curl_sample_completes_a_chat(service: Service) -> None:
    assert programs.curl(service, "quickstart.sh")["model"] == "glm-5.2"


@of("glm5")
def test_a24_glm5s_curl_sample_streams_chunks_up_to_done(service: Service) -> None:
    events = programs.bash(service, "streaming.sh").strip().split("\n\n")
    assert events[-1] == "data: [DONE]"
    assert json.loads(events[0].removeprefix("data: "))["object"] == "chat.completion.chunk"


@of("glm5")
def test_a01_glm5s_python_sample_works_under_api_v1(service: Service) -> None:
    assert WORDS.fullmatch(programs.python(service, "quickstart.py").strip())


@of("glm5")
def test_a01_glm5s_node_sample_works_under_api_v1(service: Service) -> None:
    assert WORDS.fullmatch(programs.node(service, "quickstart.mjs").strip())


@of("glm5")
def test_a19_glm5s_tool_loop_goes_its_two_steps(service: Service) -> None:
    path = "/api/v1/chat/completions"
    (choice,) = post(service, path, programs.read_json(service, "tool_call.json"))["choices"]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["tool_calls"][0]["function"]["name"] == "get_weather"
    (choice,) = post(service, path, programs.read_json(service, "tool_result.json"))["choices"]
    assert choice["finish_reason"] == "stop"
    assert WORDS.fullmatch(choice["message"]["content"])
