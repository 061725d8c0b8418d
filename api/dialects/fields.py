"""The fields of a request to OpenAI's family: which can change the bill, and which go upstream.

Of a request goes upstream what can't change the bill, and what the rows of model and route allow.
"""

from typing import Any

from msgspec import structs

from api.catalogue.snapshot import ModelEntry, RouteEntry
from api.dialects.service_tiers import STANDARD

Json = dict[str, Any]

# What providers take beside the parameters that we read: it changes which tokens come, or how the
# request is routed and cached, and all tokens are metered and bounded.
HARMLESS = frozenset(
    {
        "bad_words",
        "chat_template_kwargs",
        "do_sample",
        "dry_multiplier",
        "enable_thinking",
        "function_call",
        "functions",
        "guided_choice",
        "guided_grammar",
        "guided_json",
        "guided_regex",
        "ignore_eos",
        "include_reasoning",
        "include_stop_str_in_output",
        "length_penalty",
        "min_p",
        "min_tokens",
        "mirostat",
        "mirostat_eta",
        "mirostat_tau",
        "prompt_cache_key",
        "reasoning",
        "reasoning_effort",
        "reasoning_format",
        "request_id",
        "safety_identifier",
        "skip_special_tokens",
        "spaces_between_special_tokens",
        "stop_token_ids",
        "structured_outputs",
        "thinking_budget",
        "tool_stream",
        "top_a",
        "top_n_sigma",
        "typical_p",
        "user_id",
        "verbosity",
    }
)

# What makes the upstream bill more, or otherwise, than our price says: another tier or model, more
# answers, searches, other media. None stands for every value. With the values given, the field says
# what holds anyway: then it is dropped, and the request is served.
BILLED: dict[str, tuple[Any, ...] | None] = {
    "best_of": (1,),
    "enable_search": (False,),
    "modalities": (["text"], []),
    "models": ([],),
    "num_return_sequences": (1,),
    "plugins": ([],),
    "provider": ({},),
    "route": ("fallback",),
    "search_parameters": (),
    "service_tier": STANDARD,
    "use_beam_search": (False,),
    "web_search": (False,),
    "web_search_options": (),
    # Without effect on the answer: never refused.
    "audio": None,
    "prediction": None,
    "store": None,
}


def names_of(struct: type) -> frozenset[str]:
    """Return the names of a request's parameters that aren't billed by their own."""
    return frozenset(field.encode_name for field in structs.fields(struct)) - {"plugins"}


def billed_parameters(fields: Json, known: frozenset[str]) -> frozenset[str]:
    """Return the parameters in use that can change the upstream's bill, beside `known` ones.

    Plugins are named with their ids, as `plugins.web`.
    """
    named = BILLED.keys() & fields.keys()
    if not named:
        return frozenset()
    billed: set[str] = set()
    for name in named - known:
        value, harmless = fields[name], BILLED[name]
        if value is None or harmless is None or _is_among(value, harmless):
            continue
        if name == "plugins" and isinstance(value, list):
            ids = [plugin.get("id") for plugin in value if isinstance(plugin, dict)]
            billed |= {f"plugins.{plugin_id}" for plugin_id in ids}
        else:
            billed.add(name)
    return frozenset(billed)


def passed_fields(
    fields: Json, known: frozenset[str], model: ModelEntry, route: RouteEntry
) -> Json:
    """Return the client's fields that go upstream, in a new dict.

    Those are `known` and harmless ones, those that the model's row allows, and where the route says
    so all that aren't known to be billed.
    """
    passed = dict(fields)
    for name in fields.keys() - known - HARMLESS:
        is_passed = model.allows(name) if name in BILLED else route.passes_unknown_fields
        if not is_passed:
            del passed[name]
    return passed


def _is_among(value: object, values: tuple[Any, ...]) -> bool:
    """Return whether a value is one of these, where `True` is not 1."""
    return any(value == each and type(value) is type(each) for each in values)
