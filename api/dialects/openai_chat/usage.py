"""Usage in the form of chat completions, where cached is part of the prompt."""

from typing import Any

from billing.pricing.charge import Usage


def shown_usage(reported: object, usage: Usage) -> dict[str, Any]:
    """Return the usage object for the client: the figures that were charged.

    What else the upstream `reported` stays beside them.
    """
    figures: dict[str, Any] = {
        **(reported if isinstance(reported, dict) else {}),
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
    _show_part(figures, "prompt_tokens_details", "cached_tokens", usage.cached_tokens)
    _show_part(figures, "completion_tokens_details", "reasoning_tokens", usage.reasoning_tokens)
    return figures


def shows_as_reported(reported: object, usage: Usage) -> bool:
    """Return whether the upstream's usage object already is what the client is to be shown."""
    if type(reported) is not dict:
        return False
    output = usage.output_tokens
    if (
        reported.get("prompt_tokens") != usage.input_tokens
        or reported.get("completion_tokens") != output
        or reported.get("total_tokens") != usage.input_tokens + output
    ):
        return False
    if not usage.cached_tokens and not usage.reasoning_tokens:
        return True
    return shown_usage(reported, usage) == reported


def _show_part(figures: dict[str, Any], name: str, part: str, count: int) -> None:
    """Set a part of the figures, in a new object, if there is something to tell."""
    details = figures.get(name)
    if not isinstance(details, dict):
        details = {}
    if count or part in details:
        figures[name] = {**details, part: count}
