"""One conversation said in each downstream dialect, and what a client of it reads of the answer.

Requests and readers here know the public formats, and nothing of the product's own translation.
"""

import json
from dataclasses import dataclass, field
from typing import Any, Protocol

Json = dict[str, Any]

SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR4nGNgYGBgAAAABQABh6FO1AAAAABJRU5E"
    "rkJggg=="
)


@dataclass
class Heard:
    """What a client reads of an answer, in terms that all dialects share."""

    text: str = ""
    reasoning: str = ""
    refusal: str = ""
    calls: list[tuple[str, Any]] = field(default_factory=list)
    call_ids: list[str] = field(default_factory=list)
    ended: str = ""
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    model: str = ""
    history: list[Json] = field(default_factory=list)


class Client(Protocol):
    """A downstream dialect as one of its clients speaks it."""

    name: str

    def ask(self, text: str, **wishes: Any) -> Json: ...
    def go_on(self, body: Json, heard: Heard, results: list[str]) -> Json: ...
    def read(self, body: bytes) -> Heard: ...
    def read_stream(self, body: bytes) -> Heard: ...


def stream_data(body: bytes) -> list[Json]:
    """Return the data of a stream's events, whose names must be their types where they have any."""
    events = []
    for event in body.decode().split("\n\n"):
        lines = [line for line in event.split("\n") if line and not line.startswith(":")]
        if not lines or lines == ["data: [DONE]"]:
            continue
        data = json.loads(lines[-1].removeprefix("data: "))
        if len(lines) == 2:
            assert lines[0] == f"event: {data['type']}"
        events.append(data)
    return events


class ChatClient:
    """Chat completions."""

    name = "openai_chat"

    def ask(self, text: str, **wishes: Any) -> Json:
        content: Any = text
        if wishes.get("image"):
            url = f"data:image/png;base64,{PNG}"
            content = [
                {"type": "text", "text": text},
                {"type": "image_url", "image_url": {"url": url}},
            ]
        messages = [{"role": "user", "content": content}]
        if system := wishes.get("system"):
            messages.insert(0, {"role": "system", "content": system})
        body: Json = {"model": "public-model", "messages": messages}
        if tools := wishes.get("tools"):
            body["tools"] = [
                {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
                for name in tools
            ]
        if choice := wishes.get("choice"):
            named = {"type": "function", "function": {"name": choice}}
            body["tool_choice"] = named if choice in wishes["tools"] else choice
        if wishes.get("schema"):
            schema = {"name": "answer", "schema": SCHEMA, "strict": True}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if effort := wishes.get("effort"):
            body["reasoning_effort"] = effort
        if stop := wishes.get("stop"):
            body["stop"] = stop
        if wishes.get("stream"):
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        return body

    def go_on(self, body: Json, heard: Heard, results: list[str]) -> Json:
        answers = [
            {"role": "tool", "tool_call_id": call_id, "content": result}
            for call_id, result in zip(heard.call_ids, results, strict=True)
        ]
        return {**body, "messages": [*body["messages"], *heard.history, *answers]}

    def read(self, body: bytes) -> Heard:
        answer = json.loads(body)
        (choice,) = answer["choices"]
        message = choice["message"]
        assert message["role"] == "assistant"
        return self._heard(answer, message, choice["finish_reason"], answer["usage"])

    def read_stream(self, body: bytes) -> Heard:
        assert body.endswith(b"data: [DONE]\n\n")
        chunks = stream_data(body)
        message: Json = {"role": "assistant", "content": None}
        finish, usage = "", {}
        for chunk in chunks:
            assert chunk["object"] == "chat.completion.chunk"
            assert chunk["model"] == "public-model"
            usage = chunk.get("usage") or usage
            for choice in chunk["choices"]:
                finish = choice["finish_reason"] or finish
                for name, value in choice["delta"].items():
                    if name == "tool_calls":
                        self._add_calls(message.setdefault("tool_calls", []), value)
                    elif name == "reasoning_details":
                        message.setdefault(name, []).extend(value)
                    elif name != "role" and value:
                        message[name] = (message.get(name) or "") + value
        return self._heard(chunks[0], message, finish, usage)

    def _add_calls(self, calls: list[Json], pieces: list[Json]) -> None:
        for piece in pieces:
            if piece["index"] == len(calls):
                calls.append({"id": piece["id"], "type": "function", "function": {}})
            for name, text in piece["function"].items():
                function = calls[piece["index"]]["function"]
                function[name] = function.get(name, "") + text

    def _heard(self, answer: Json, message: Json, finish: str, usage: Json) -> Heard:
        calls = message.get("tool_calls") or []
        return Heard(
            text=message.get("content") or "",
            reasoning=message.get("reasoning_content") or "",
            refusal=message.get("refusal") or "",
            calls=[
                (call["function"]["name"], json.loads(call["function"]["arguments"]))
                for call in calls
            ],
            call_ids=[call["id"] for call in calls],
            ended={"tool_calls": "calls", "content_filter": "refused"}.get(finish, finish),
            input_tokens=usage["prompt_tokens"],
            cached_tokens=(usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0),
            output_tokens=usage["completion_tokens"],
            model=answer["model"],
            history=[message],
        )


class MessagesClient:
    """Messages."""

    name = "anthropic_messages"

    def ask(self, text: str, **wishes: Any) -> Json:
        content: Any = text
        if wishes.get("image"):
            source = {"type": "base64", "media_type": "image/png", "data": PNG}
            content = [{"type": "text", "text": text}, {"type": "image", "source": source}]
        body: Json = {
            "model": "public-model",
            "max_tokens": 8_000,
            "messages": [{"role": "user", "content": content}],
        }
        if system := wishes.get("system"):
            body["system"] = system
        if tools := wishes.get("tools"):
            body["tools"] = [{"name": name, "input_schema": SCHEMA} for name in tools]
        if choice := wishes.get("choice"):
            kinds = {"required": "any"}
            body["tool_choice"] = {"type": kinds.get(choice, choice)}
            if choice in wishes["tools"]:
                body["tool_choice"] = {"type": "tool", "name": choice}
        if wishes.get("schema"):
            body["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        if wishes.get("effort"):
            body["thinking"] = {"type": "enabled", "budget_tokens": 2_000}
        if stop := wishes.get("stop"):
            body["stop_sequences"] = stop
        if wishes.get("stream"):
            body["stream"] = True
        return body

    def go_on(self, body: Json, heard: Heard, results: list[str]) -> Json:
        blocks = [
            {"type": "tool_result", "tool_use_id": call_id, "content": result}
            for call_id, result in zip(heard.call_ids, results, strict=True)
        ]
        answers = [{"role": "user", "content": blocks}]
        return {**body, "messages": [*body["messages"], *heard.history, *answers]}

    def read(self, body: bytes) -> Heard:
        message = json.loads(body)
        assert message["type"] == "message"
        assert message["id"].startswith("msg_")
        return self._heard(message)

    def read_stream(self, body: bytes) -> Heard:
        events = [event for event in stream_data(body) if event["type"] != "ping"]
        assert events[0]["type"] == "message_start"
        assert [event["type"] for event in events[-2:]] == ["message_delta", "message_stop"]
        message = events[0]["message"]
        partial = ""
        is_open = False
        for event in events[1:]:
            match event["type"]:
                case "content_block_start":
                    assert not is_open
                    assert event["index"] == len(message["content"])
                    is_open, partial = True, ""
                    message["content"].append(event["content_block"])
                case "content_block_delta":
                    assert is_open
                    assert event["index"] == len(message["content"]) - 1
                    block, delta = message["content"][-1], event["delta"]
                    match delta["type"]:
                        case "text_delta":
                            block["text"] += delta["text"]
                        case "thinking_delta":
                            block["thinking"] += delta["thinking"]
                        case "signature_delta":
                            block["signature"] = block.get("signature", "") + delta["signature"]
                        case "input_json_delta":
                            partial += delta["partial_json"]
                case "content_block_stop":
                    is_open = False
                    if partial:
                        message["content"][-1]["input"] = json.loads(partial)
                case "message_delta":
                    message |= event["delta"]
                    message["usage"] |= event["usage"]
        assert not is_open
        return self._heard(message)

    def _heard(self, message: Json) -> Heard:
        blocks, usage = message["content"], message["usage"]
        calls = [block for block in blocks if block["type"] == "tool_use"]
        reasons = {
            "end_turn": "stop",
            "stop_sequence": "stop",
            "tool_use": "calls",
            "max_tokens": "length",
            "refusal": "refused",
        }
        text = "".join(block["text"] for block in blocks if block["type"] == "text")
        is_refused = message["stop_reason"] == "refusal"
        return Heard(
            text="" if is_refused else text,
            reasoning="".join(block.get("thinking") or "" for block in blocks),
            refusal=text if is_refused else "",
            calls=[(call["name"], call["input"]) for call in calls],
            call_ids=[call["id"] for call in calls],
            ended=reasons[message["stop_reason"]],
            input_tokens=usage["input_tokens"]
            + usage["cache_read_input_tokens"]
            + usage["cache_creation_input_tokens"],
            cached_tokens=usage["cache_read_input_tokens"],
            output_tokens=usage["output_tokens"],
            model=message["model"],
            history=[{"role": "assistant", "content": blocks}],
        )


class ResponsesClient:
    """Responses."""

    name = "openai_responses"

    def ask(self, text: str, **wishes: Any) -> Json:
        content: list[Json] = [{"type": "input_text", "text": text}]
        if wishes.get("image"):
            url = f"data:image/png;base64,{PNG}"
            content.append({"type": "input_image", "image_url": url})
        body: Json = {
            "model": "public-model",
            "input": [{"type": "message", "role": "user", "content": content}],
            "include": ["reasoning.encrypted_content"],
            "store": False,
        }
        if system := wishes.get("system"):
            body["instructions"] = system
        if tools := wishes.get("tools"):
            body["tools"] = [
                {"type": "function", "name": name, "parameters": SCHEMA, "strict": False}
                for name in tools
            ]
        if choice := wishes.get("choice"):
            body["tool_choice"] = choice
            if choice in wishes["tools"]:
                body["tool_choice"] = {"type": "function", "name": choice}
        if wishes.get("schema"):
            form = {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}
            body["text"] = {"format": form}
        if effort := wishes.get("effort"):
            body["reasoning"] = {"effort": effort, "summary": "auto"}
        if wishes.get("stream"):
            body["stream"] = True
        return body

    def go_on(self, body: Json, heard: Heard, results: list[str]) -> Json:
        answers = [
            {"type": "function_call_output", "call_id": call_id, "output": result}
            for call_id, result in zip(heard.call_ids, results, strict=True)
        ]
        return {**body, "input": [*body["input"], *heard.history, *answers]}

    def read(self, body: bytes) -> Heard:
        response = json.loads(body)
        assert response["object"] == "response"
        assert response["store"] is False
        return self._heard(response)

    def read_stream(self, body: bytes) -> Heard:
        events = stream_data(body)
        assert [event["sequence_number"] for event in events] == list(range(len(events)))
        kinds = [event["type"] for event in events]
        assert kinds[:2] == ["response.created", "response.in_progress"]
        assert kinds[-1] in {"response.completed", "response.incomplete"}
        items: dict[int, Json] = {}
        texts: dict[int, str] = {}
        for event in events:
            index = event.get("output_index")
            if event["type"] == "response.output_item.added":
                items[index] = event["item"]
            elif event["type"].endswith(".delta"):
                assert event["item_id"] == items[index]["id"]
                texts[index] = texts.get(index, "") + event["delta"]
            elif event["type"] == "response.output_item.done":
                item = event["item"]
                assert item["id"] == items[index]["id"]
                whole = item.get("arguments") or "".join(
                    part.get("text") or part.get("refusal") or ""
                    for part in (item.get("content") or item.get("summary") or [])
                )
                assert texts.get(index, "") == whole
                items[index] = item
        response = events[-1]["response"]
        assert response["output"] == [items[index] for index in sorted(items)]
        return self._heard(response)

    def _heard(self, response: Json) -> Heard:
        items, usage = response["output"], response["usage"]
        calls = [item for item in items if item["type"] == "function_call"]
        parts = [part for item in items if item["type"] == "message" for part in item["content"]]
        summaries = [
            part["text"]
            for item in items
            if item["type"] == "reasoning"
            for part in item["summary"]
        ]
        ended = "calls" if calls else "stop"
        if response["status"] == "incomplete":
            reason = response["incomplete_details"]["reason"]
            ended = {"max_output_tokens": "length", "content_filter": "refused"}[reason]
        return Heard(
            text="".join(part["text"] for part in parts if part["type"] == "output_text"),
            reasoning="".join(summaries),
            refusal="".join(part["refusal"] for part in parts if part["type"] == "refusal"),
            calls=[(call["name"], json.loads(call["arguments"])) for call in calls],
            call_ids=[call["call_id"] for call in calls],
            ended=ended,
            input_tokens=usage["input_tokens"],
            cached_tokens=usage["input_tokens_details"]["cached_tokens"],
            output_tokens=usage["output_tokens"],
            model=response["model"],
            history=items,
        )


CLIENTS: dict[str, Client] = {
    client.name: client for client in (ChatClient(), MessagesClient(), ResponsesClient())
}
