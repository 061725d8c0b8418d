"""Requests in Anthropic's dialect, and a reader of its events."""

import json

VERSION = {"anthropic-version": "2023-06-01"}
CITY = {
    "name": "get_city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}},
}
TIME = {
    "name": "get_time",
    "input_schema": {"type": "object", "properties": {"zone": {"type": "string"}}},
}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "get_city", "input": {}}
RESULT = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "12345678"}


def ask(sim, script="", *, path="/v1/messages", headers=VERSION, **fields):
    body = {
        "model": "sim",
        "max_tokens": 1000,
        "messages": [{"role": "user", "content": "Hello, sim!"}],
    } | fields
    return sim.post(path, body, script, headers=headers)


def named_events(answer):
    """The events, each checked to have its own type as its name."""
    events = []
    for block in answer.body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = block.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
    return events


def assembled(answer):
    """The message that a client builds from the events."""
    message, arguments = {}, {}
    for event in named_events(answer):
        match event["type"]:
            case "message_start":
                message = event["message"]
            case "content_block_start":
                assert event["index"] == len(message["content"])
                message["content"].append(event["content_block"])
            case "content_block_delta":
                assert event["index"] == len(message["content"]) - 1  # blocks do not interleave
                block, delta = message["content"][-1], event["delta"]
                if delta["type"] == "input_json_delta":
                    index = event["index"]
                    arguments[index] = arguments.get(index, "") + delta["partial_json"]
                else:
                    name = delta["type"].removesuffix("_delta")
                    block[name] += delta[name]
            case "message_delta":
                message |= event["delta"]
                message["usage"] |= event["usage"]
    for index, text in arguments.items():
        message["content"][index]["input"] = json.loads(text)
    return message
