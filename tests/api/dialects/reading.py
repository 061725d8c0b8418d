"""What becomes of a stream of chat chunks, without a gateway around the reader."""

import json
from typing import Any

from api.dialects.base import AnswerContext, DialectError
from api.dialects.openai_chat import CHAT
from api.dialects.openai_completions import COMPLETIONS
from api.dialects.usage import Metered
from tests.api.dialects.limits import Limits

Json = dict[str, Any]

HEAD = {"id": "gen-7", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "m"}
DONE = b"data: [DONE]\n\n"


def chunk(delta: Json | None = None, finish: str | None = None, **fields: Any) -> Json:
    """Return a chunk with one delta, or without choices."""
    choices = [] if delta is None else [{"index": 0, "delta": delta, "finish_reason": finish}]
    return {**HEAD, "choices": choices, **fields}


def sent(*parts: Json | bytes, ends: bool = True) -> bytes:
    """Return events, with the usual end after them."""
    events = [
        part if isinstance(part, bytes) else b"data: " + json.dumps(part).encode() + b"\n\n"
        for part in parts
    ]
    return b"".join(events) + (sent(STOP, USED, DONE, ends=False) if ends else b"")


def count(prompt: int, output: int, **more: Any) -> Json:
    """Return a usage object."""
    total = {"total_tokens": prompt + output}
    return {"prompt_tokens": prompt, "completion_tokens": output, **total, **more}


SKY = chunk({"content": "The sky"})
STOP = chunk({}, "stop")
USED = chunk(usage=count(31, 6))
BEGIN = chunk({"role": "assistant", "content": ""})


class Reading:
    """What became of a stream: the client's chunks, and the metering."""

    def __init__(
        self,
        data: bytes,
        *,
        size: int = 0,
        field: Any = "reasoning_content",
        is_tagged: bool = False,
        dialect: Any = CHAT,
        **context: Any,
    ) -> None:
        prompt = {"prompt": "Hi"} if dialect is COMPLETIONS else {}
        fields = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], **prompt}
        told = AnswerContext(dialect.parse(fields, 0), "m", field, is_tagged=is_tagged, **context)
        reader = dialect.stream_reader(told)
        size = size or len(data) or 1
        self.error: DialectError | None = None
        self.passed_on = b""
        for start in range(0, len(data), size):
            self.passed_on += reader.feed(data[start : start + size])
            if reader.error is not None:
                break
        try:
            if reader.error is not None:
                raise reader.error
            self.passed_on += reader.finish()
        except DialectError as error:
            self.error = error
        self.metered: Metered = reader.meter(Limits())
        self.reader = reader
        lines = [line for line in self.passed_on.split(b"\n\n") if line]
        assert all(line.startswith(b"data: ") and b"\n" not in line for line in lines)
        self.chunks = [json.loads(line[6:]) for line in lines]
        kind = "text_completion" if dialect is COMPLETIONS else HEAD["object"]
        for each in self.chunks:
            assert (each["object"], each["model"]) == (kind, "m")
            assert isinstance(each["id"], str)
            assert isinstance(each["created"], int)
            assert "usage" not in each
            assert not each.get("error")
        self.choices = [choice for each in self.chunks for choice in each["choices"]]
        assert all(type(choice["index"]) is int for choice in self.choices)
        reasons = [choice["finish_reason"] for choice in self.choices]
        assert "" not in reasons
        self.finish = [reason for reason in reasons if reason]

    def joined(self, name: str) -> str:
        """Return a text of all deltas, which must be texts."""
        return "".join(choice["delta"].get(name) or "" for choice in self.choices)

    @property
    def tokens(self) -> tuple[int, int, int, int] | None:
        """Input, cached, output and reasoning tokens."""
        usage = self.metered.usage
        if usage is None:
            return None
        return usage.input_tokens, usage.cached_tokens, usage.output_tokens, usage.reasoning_tokens
