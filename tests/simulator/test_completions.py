"""The legacy endpoint."""

import pytest


def complete(sim, script="", **fields):
    return sim.post("/v1/completions", {"model": "sim", "prompt": "Hello"} | fields, script)


def test_a_completion_has_the_legacy_shape(sim):
    body = complete(sim, "tokens=2").json

    assert body["id"].startswith("cmpl-sim-")
    assert body["object"] == "text_completion"
    assert body["choices"] == [
        {"text": "sun fox ", "index": 0, "logprobs": None, "finish_reason": "stop"}
    ]
    assert body["usage"] == {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4}


@pytest.mark.parametrize(
    ("prompt", "choices", "tokens"),
    [
        ("", 1, 0),
        ("12345678", 1, 2),
        (["1234", "56789"], 2, 3),
        ([5, 6, 7], 1, 3),
        ([[5], [6, 7]], 2, 3),
    ],
)
def test_each_prompt_has_its_choices(sim, prompt, choices, tokens):
    body = complete(sim, prompt=prompt, n=2).json

    assert len(body["choices"]) == choices * 2
    assert body["usage"]["prompt_tokens"] == tokens
    assert body["usage"]["completion_tokens"] == choices * 2 * 16


@pytest.mark.parametrize("prompt", [[], [[]], [1, "a"], [True], 5, None, ["a"] * 129])
def test_other_prompts_are_refused(sim, prompt):
    answer = complete(sim, prompt=prompt)

    assert (answer.status, answer.error["param"]) == (400, "prompt")


def test_max_tokens_caps_it(sim):
    choice = complete(sim, max_tokens=1).json["choices"][0]

    assert (choice["text"], choice["finish_reason"]) == ("sun ", "length")


def test_it_streams(sim):
    answer = complete(
        sim, "tokens=2&reasoning=3", stream=True, stream_options={"include_usage": True}
    )
    texts = [chunk["choices"][0]["text"] for chunk in answer.chunks[:-1]]

    assert {chunk["object"] for chunk in answer.chunks} == {"text_completion"}
    assert texts == ["sun ", "fox ", ""]
    assert answer.chunks[-2]["choices"][0]["finish_reason"] == "stop"
    assert answer.chunks[-1]["usage"]["completion_tokens"] == 2
    assert answer.events[-1] == "[DONE]"


def test_faults_work_here_too(sim):
    assert complete(sim, "status=503").status == 503
    assert len(complete(sim, "cut_after=3", stream=True).chunks) == 3
    early = complete(sim, "tokens=1&usage=early,forced", stream=True).chunks[0]
    assert (early["choices"], early["usage"]["completion_tokens"]) == ([], 1)
