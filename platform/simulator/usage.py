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
    if counts.reasoning:
        usage["completion_tokens_details"] = {"reasoning_tokens": counts.reasoning}
    return _bent(usage, value)


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


def _bent(usage: Any, value: str) -> Any:
    """Return the usage with every number in it replaced as the script asks."""
    if isinstance(usage, dict):
        return {name: _bent(count, value) for name, count in usage.items()}
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
