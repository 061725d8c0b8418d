"""The behaviour script: what the simulator is to do with one call.

A script is a query string, `tokens=1000&pace_ms=20`. It may stand in four places; they are laid
over each other key by key, and the later one wins:

1. the model's name, after `?`, or after its first `:` if an `=` follows (`sim:tokens=5`);
2. the header `x-simulate`;
3. the body's field `simulate`: such a string, or an object (`{"tokens": 5}`);
4. the text of a conversation, between `<simulate>` and `</simulate>`: either of these.

An unknown key or a bad value is a 400 that names the key.

Amounts
  tokens=N              answer tokens per choice (16)
  prompt_tokens=N       instead of what the messages count
  cached=N              cached prompt tokens in the usage
  cached_place=PLACE    prompt_tokens_details | prompt_cache_hit_tokens | cached_tokens |
                        cache_read_input_tokens
  cache_write=N         prompt tokens written to the cache for 5 minutes
  cache_write_1h=N      and for an hour
  reasoning=N           reasoning tokens before the answer
  dialect=NAME          reasoning_content | reasoning | think: where the reasoning goes
  content=empty         neither reasoning nor answer; content=refusal: a refusal
  tool=1|0              call a tool whatever the request says, or never
  calls=N               how many tools an answer calls at once (1)
  turns=NAME            the plan laid down by `PUT /turns/NAME`
  finish=REASON         the finish reason; `none`: never one

Timing and form
  first_ms=N            before the first byte of the body
  pace_ms=N             between writes (plain answers wait as long as their stream would)
  chunk_tokens=N        tokens per chunk (1)
  chunks_per_write=N    chunks handed over together (1)
  comments=1            SSE comments at once and every 200 ms while waiting or stalling
  pings=1               the same with Anthropic's `ping` events (Messages only)
  names=0               no `event:` lines
  spaces=1              JSON with ", " and ": "
  tight=1               `data:` without a space after it
  crlf=1                lines end in CR LF
  split=N               bytes in pieces of N, wherever events begin and end
  done=0                no `data: [DONE]`

Usage
  usage=WORD,...        place: late (default) | early | last_chunk | twice | running;
                        value: normal | negative | huge | overflow | float | string | null | list;
                        missing: never; forced: though not asked for; nulls: in every other chunk

Faults
  status=CODE           this error instead (300 to 599); retry_after=SECONDS; message=TEXT
  code=TEXT             the code of these errors (Anthropic: the type) instead of the status's own
  fail_first=N          only the first N calls of this script (and key=TEXT) get it (500)
  require_key=1         401 without a bearer token
  drop=1                close before the answer's first byte
  stall_after=N         after N tokens nothing more, the connection stays open
  cut_after=N           after N tokens close without the end of the body
  reset_after=N         the same with a TCP reset
  error_after=N         after N tokens an error event, then a clean end
  end_after=N           after N tokens a clean end without finish reason and [DONE]
  body=KIND             garbage | html | invalid_json | invalid_utf8 | empty | huge_line |
                        gzip_bomb; bytes=N is the size of the last two (50000000)

Images, audio and videos
  images=N              pictures delivered, whatever `n` says; image=failed: an error
  image_tokens=N        tokens a picture counts for in a usage, which else there is none
  audio_usage=KIND      tokens | duration: how a transcript's usage is told
  video_s=SECONDS       until the video is ready (1); video=failed | stuck
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlencode

from simulator.errors import SimulatedError

USAGE_PLACES = ("late", "early", "last_chunk", "twice", "running")
USAGE_VALUES = ("normal", "negative", "huge", "overflow", "float", "string", "null", "list")
USAGE_FLAGS = ("missing", "forced", "nulls")
STOPS = ("stall", "cut", "reset", "error", "end")


class Stop(NamedTuple):
    """The point and kind of an answer's premature end."""

    kind: str
    after: int


@dataclass(frozen=True, slots=True)
class UsageReport:
    """The form in which a call's usage is reported."""

    place: str = "late"
    value: str = "normal"
    missing: bool = False
    forced: bool = False
    nulls: bool = False


@dataclass(frozen=True, slots=True)
class Script:
    """One call's behaviour. The fields are the keys of the grammar."""

    tokens: int = 16
    prompt_tokens: int | None = None
    cached: int | None = None
    cached_place: str = "prompt_tokens_details"
    cache_write: int | None = None
    cache_write_1h: int | None = None
    reasoning: int | None = None
    dialect: str = "reasoning_content"
    content: str = ""
    tool: bool | None = None
    calls: int = 1
    turns: str = ""
    finish: str = ""
    first_ms: int = 0
    pace_ms: int = 0
    chunk_tokens: int = 1
    chunks_per_write: int = 1
    comments: bool = False
    pings: bool = False
    names: bool = True
    spaces: bool = False
    tight: bool = False
    crlf: bool = False
    split: int = 0
    done: bool = True
    usage: UsageReport = UsageReport()
    status: int = 0
    retry_after: int | None = None
    message: str = ""
    code: str = ""
    fail_first: int = 0
    key: str = ""
    require_key: bool = False
    drop: bool = False
    stall_after: int | None = None
    cut_after: int | None = None
    reset_after: int | None = None
    error_after: int | None = None
    end_after: int | None = None
    body: str = ""
    bytes: int = 50_000_000
    images: int | None = None
    image: str = ""
    image_tokens: int | None = None
    audio_usage: str = ""
    video_s: float = 1.0
    video: str = ""
    text: str = ""  # the merged script as it was read; not a key

    @property
    def stop(self) -> Stop | None:
        """Return the earliest of the breaks, or None where the answer runs to its end."""
        stops = [Stop(kind, getattr(self, f"{kind}_after")) for kind in STOPS]
        return min(
            (stop for stop in stops if stop.after is not None),
            key=lambda stop: stop.after,
            default=None,
        )


def _whole(low: int, high: int) -> Callable[[str], int]:
    def read(value: str) -> int:
        # int() also takes "1_000" and " 7 ", which no other tool would write.
        if not (value.isascii() and value.isdigit() and low <= int(value) <= high):
            raise ValueError(f"a whole number from {low} to {high}")
        return int(value)

    return read


def _one_of(*names: str) -> Callable[[str], str]:
    def read(value: str) -> str:
        if value not in names:
            raise ValueError("one of " + ", ".join(names))
        return value

    return read


def _flag(value: str) -> bool:
    if value not in {"0", "1", "true", "false"}:
        raise ValueError("1 or 0")
    return value in {"1", "true"}


def _seconds(value: str) -> float:
    seconds = float(value) if value.replace(".", "", 1).isdigit() else -1.0
    if not 0 <= seconds <= 86_400:
        raise ValueError("seconds from 0 to 86400")
    return seconds


def _label(value: str) -> str:
    if not 1 <= len(value) <= 200:
        raise ValueError("1 to 200 characters")
    return value


def _usage(value: str) -> UsageReport:
    names = value.split(",")
    unknown = set(names) - {*USAGE_PLACES, *USAGE_VALUES, *USAGE_FLAGS}
    places = [name for name in names if name in USAGE_PLACES]
    values = [name for name in names if name in USAGE_VALUES]
    if unknown or len(places) > 1 or len(values) > 1:
        raise ValueError(
            f"at most one place ({', '.join(USAGE_PLACES)}), one value "
            f"({', '.join(USAGE_VALUES)}) and any of {', '.join(USAGE_FLAGS)}"
        )
    return UsageReport(
        place=places[0] if places else "late",
        value=values[0] if values else "normal",
        **{name: name in names for name in USAGE_FLAGS},
    )


_COUNT = _whole(0, 1_000_000)
_MILLISECONDS = _whole(0, 86_400_000)

KEYS: dict[str, Callable[[str], Any]] = {
    "tokens": _COUNT,
    "prompt_tokens": _whole(0, 1_000_000_000),
    "cached": _whole(0, 1_000_000_000),
    "cached_place": _one_of(
        "prompt_tokens_details",
        "prompt_cache_hit_tokens",
        "cached_tokens",
        "cache_read_input_tokens",
    ),
    "cache_write": _whole(0, 1_000_000_000),
    "cache_write_1h": _whole(0, 1_000_000_000),
    "reasoning": _COUNT,
    "dialect": _one_of("reasoning_content", "reasoning", "think"),
    "content": _one_of("empty", "refusal"),
    "tool": _flag,
    "calls": _whole(1, 64),
    "turns": _label,
    "finish": _label,
    "first_ms": _MILLISECONDS,
    "pace_ms": _MILLISECONDS,
    "chunk_tokens": _whole(1, 100_000),
    "chunks_per_write": _whole(1, 100_000),
    "comments": _flag,
    "pings": _flag,
    "names": _flag,
    "spaces": _flag,
    "tight": _flag,
    "crlf": _flag,
    "split": _whole(1, 1_000_000),
    "done": _flag,
    "usage": _usage,
    "status": _whole(300, 599),
    "retry_after": _whole(0, 86_400),
    "message": _label,
    "code": _label,
    "fail_first": _COUNT,
    "key": _label,
    "require_key": _flag,
    "drop": _flag,
    "stall_after": _COUNT,
    "cut_after": _COUNT,
    "reset_after": _COUNT,
    "error_after": _COUNT,
    "end_after": _COUNT,
    "body": _one_of(
        "garbage", "html", "invalid_json", "invalid_utf8", "empty", "huge_line", "gzip_bomb"
    ),
    "bytes": _whole(1, 2_000_000_000),
    "images": _whole(0, 100),
    "image": _one_of("failed"),
    "image_tokens": _COUNT,
    "audio_usage": _one_of("tokens", "duration"),
    "video_s": _seconds,
    "video": _one_of("failed", "stuck"),
}

if {field.name for field in fields(Script)} != KEYS.keys() | {"text"}:
    raise TypeError("every field of Script has a reader in KEYS, and the other way round")


def split_model(model: str) -> tuple[str, str]:
    """Return a model's own name and the script in it, if there is one."""
    name, mark, text = model.partition("?")
    if mark:
        return name, text
    name, _, text = model.partition(":")
    return (name, text) if "=" in text else (model, "")


def read_script(model: str, header: str, field: Any, in_prompt: Any = None) -> Script:
    """Return the script of a call from its four places.

    Raise SimulatedError (400) for an unknown key or a bad value.
    """
    _, in_name = split_model(model)
    return _parse(in_name, header, _script_text(field), _script_text(in_prompt))


def _script_text(value: Any) -> str:
    if isinstance(value, dict):
        return urlencode({str(key): _as_text(each) for key, each in value.items()})
    if value is not None and not isinstance(value, str):
        raise SimulatedError("simulate: a string or an object", param="simulate")
    return value or ""


# A load test sends one script thousands of times: it is read once.
@lru_cache(maxsize=1024)
def _parse(*texts: str) -> Script:
    pairs: dict[str, str] = {}
    for text in texts:
        for key, value in _pairs(text):
            # A key given again moves to the end, so `text` reads in order of precedence.
            pairs.pop(key, None)
            pairs[key] = value
    values = {key: _read(key, value) for key, value in pairs.items()}
    return Script(**values, text=urlencode(pairs, safe=","))


def _pairs(text: str) -> list[tuple[str, str]]:
    if not text:
        return []
    try:
        return parse_qsl(text, keep_blank_values=True, strict_parsing=True, max_num_fields=100)
    except ValueError as error:
        raise SimulatedError(f"behaviour script: {error}", param="simulate") from error


def _read(key: str, value: str) -> Any:
    reader = KEYS.get(key)
    if reader is None:
        raise SimulatedError(f"behaviour script: unknown key {key!r}", param=key)
    try:
        return reader(value)
    except ValueError as error:
        message = f"behaviour script: {key}={value!r} is not {error}"
        raise SimulatedError(message, param=key) from error


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "1" if value else "0"
    if isinstance(value, list):
        return ",".join(map(str, value))
    return str(value)
