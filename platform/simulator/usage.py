"""The usage object of an answer, honest or not."""

from typing import Any, NamedTuple

from simulator.script import Script

HUGE = 10**15
OVERFLOW = 10**30  # fits no database integer


class Counts(NamedTuple):
    """The tokens of one answer."""

    prompt: int
    completion: int
    reasoning: int


def usage_object(counts: Counts, script: Script) -> Any:
    """Return what the answer says of its tokens: counted truly, then bent as scripted."""
    value = script.usage.value
    if value == "null":
        return None
    if value == "list":
        return [counts.prompt, counts.completion]
    usage: dict[str, Any] = {
        "prompt_tokens": counts.prompt,
        "completion_tokens": counts.completion,
        "total_tokens": counts.prompt + counts.completion,
    }
    _add_cached(usage, counts, script)
    _add_written(usage, script)
    if counts.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning}
    return bent(usage, value)


def anthropic_usage(counts: Counts, script: Script) -> Any:
    """Return Anthropic's usage: `input_tokens` are those neither read from nor put in the cache."""
    value = script.usage.value
    if value == "null":
        return None
    if value == "list":
        return [counts.prompt, counts.completion]
    read = script.cached or 0
    five_minutes, hour = script.cache_write or 0, script.cache_write_1h or 0
    usage: dict[str, Any] = {
        "input_tokens": max(counts.prompt - read - five_minutes - hour, 0),
        "cache_creation_input_tokens": five_minutes + hour,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": five_minutes,
            "ephemeral_1h_input_tokens": hour,
        },
        "output_tokens": counts.completion,
    }
    if counts.reasoning:
        usage["output_tokens_details"] = {"thinking_tokens": counts.reasoning}
    return bent(usage, value) | {"service_tier": "standard"}


def responses_usage(counts: Counts, script: Script) -> Any:
    """Return the usage of OpenAI's Responses, whose details are always there."""
    value = script.usage.value
    if value == "null":
        return None
    if value == "list":
        return [counts.prompt, counts.completion]
    written = (script.cache_write or 0) + (script.cache_write_1h or 0)
    usage = {
        "input_tokens": counts.prompt,
        "input_tokens_details": {
            "cached_tokens": script.cached or 0,
            "cache_write_tokens": written,
        },
        "output_tokens": counts.completion,
        "output_tokens_details": {"reasoning_tokens": counts.reasoning},
        "total_tokens": counts.prompt + counts.completion,
    }
    return bent(usage, value)


def is_sent(script: Script, asked: bool) -> bool:
    """Return whether a stream carries usage."""
    return (asked or script.usage.forced) and not script.usage.missing


def _add_cached(usage: dict[str, Any], counts: Counts, script: Script) -> None:
    if script.cached is None:
        return
    match script.cached_place:
        case "prompt_tokens_details":
            usage["prompt_tokens_details"] = {"cached_tokens": script.cached}
        case "prompt_cache_hit_tokens":
            usage["prompt_cache_hit_tokens"] = script.cached
            usage["prompt_cache_miss_tokens"] = max(counts.prompt - script.cached, 0)
        case place:
            usage[place] = script.cached


def _add_written(usage: dict[str, Any], script: Script) -> None:
    if script.cache_write is not None or script.cache_write_1h is not None:
        details = usage.setdefault("prompt_tokens_details", {})
        details["cache_write_tokens"] = (script.cache_write or 0) + (script.cache_write_1h or 0)


def bent(usage: Any, value: str) -> Any:
    """Return the usage with every number in it replaced as the script asks."""
    if isinstance(usage, dict):
        return {name: bent(count, value) for name, count in usage.items()}
    match value:
        case "negative":
            return -usage - 1
        case "huge":
            return HUGE
        case "overflow":
            return OVERFLOW
        case "float":
            return usage + 0.5
        case "string":
            return str(usage)
    return usage
