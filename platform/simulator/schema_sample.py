"""The smallest instance of a JSON schema: tool arguments and structured outputs.

Understands what function parameters and OpenAI's `json_schema` use: types, properties, required,
enum, const, default, arrays, nesting, anyOf/oneOf/allOf, `$ref` within the schema, bounds of
numbers, lengths and the common string formats. `pattern` is beyond it.
"""

import math
from typing import Any

from simulator.errors import SimulatedError

MAX_DEPTH = 32
# From here on a recursive schema is steered to its simplest branches.
SHALLOW_DEPTH = 4

_FORMATS = {
    "date-time": "2026-01-01T00:00:00Z",
    "date": "2026-01-01",
    "time": "00:00:00Z",
    "duration": "P1D",
    "email": "sam@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}
_WORD = "Tokyo"


def sample(schema: Any) -> Any:
    """Return an instance of the schema. Raise SimulatedError where it cannot make one."""
    return _sample(schema, schema, 0)


def _sample(schema: Any, root: Any, depth: int) -> Any:
    if schema is True or schema == {}:
        return _WORD
    if not isinstance(schema, dict):
        raise SimulatedError("schema: an object is expected", param="schema")
    if depth > MAX_DEPTH:
        raise SimulatedError("schema: it never ends", param="schema")
    if "$ref" in schema:
        return _sample(_resolve(schema["$ref"], root), root, depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if schema.get("allOf"):
        return _sample(_merged(schema, root), root, depth + 1)
    for word in ("anyOf", "oneOf"):
        if schema.get(word):
            return _sample(_branch(schema[word], depth), root, depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: dict[str, Any], root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = "null" if depth > SHALLOW_DEPTH and "null" in kind else kind[0]
    match kind:
        case "object":
            return _object(schema, root, depth)
        case "array":
            return _array(schema, root, depth)
        case "string":
            return _string(schema)
        case "integer" | "number":
            return _number(schema, whole=kind == "integer")
        case "boolean":
            return True
        case "null":
            return None
    raise SimulatedError(f"schema: unknown type {kind!r}", param="schema")


def _object(schema: dict[str, Any], root: Any, depth: int) -> dict[str, Any]:
    properties = schema.get("properties", {})
    # Without a list of required ones an empty object would do, and show nothing.
    required = schema.get("required", [] if depth > SHALLOW_DEPTH else list(properties))
    return {name: _sample(properties.get(name, {}), root, depth + 1) for name in required}


def _array(schema: dict[str, Any], root: Any, depth: int) -> list[Any]:
    fixed = [_sample(item, root, depth + 1) for item in schema.get("prefixItems", [])]
    wanted = max(schema.get("minItems", 0 if fixed or depth > SHALLOW_DEPTH else 1), len(fixed))
    wanted = min(wanted, schema.get("maxItems", wanted))
    more = wanted - len(fixed)
    return fixed[:wanted] + [_sample(schema.get("items", {}), root, depth + 1) for _ in range(more)]


def _string(schema: dict[str, Any]) -> str:
    text = _FORMATS.get(schema.get("format", ""), _WORD)
    shortest, longest = schema.get("minLength", 0), schema.get("maxLength")
    return text.ljust(shortest, "o")[:longest]


def _number(schema: dict[str, Any], *, whole: bool) -> int | float:
    step = schema.get("multipleOf", 1 if whole else None)
    low = schema.get("minimum", -math.inf)
    high = schema.get("maximum", math.inf)
    # A bound that is itself excluded is stepped over by one unit, or by half of what is left.
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + _nudge(schema, step))
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - _nudge(schema, step))
    value = min(max(1, low), high)
    if step:
        value = math.ceil(value / step) * step
        value = value if value <= high else math.floor(high / step) * step
    return int(value) if whole else value


def _nudge(schema: dict[str, Any], step: float | None) -> float:
    if step:
        return step
    low = schema.get("exclusiveMinimum", schema.get("minimum"))
    high = schema.get("exclusiveMaximum", schema.get("maximum"))
    return 1 if low is None or high is None else (high - low) / 2


def _branch(branches: list[Any], depth: int) -> Any:
    """Return the branch to take: the first, or deep inside the one least likely to recurse."""
    if depth <= SHALLOW_DEPTH:
        return branches[0]
    plain = [branch for branch in branches if isinstance(branch, dict) and "$ref" not in branch]
    plain.sort(key=lambda branch: branch.get("type") in {"object", "array"})
    return plain[0] if plain else branches[0]


def _merged(schema: dict[str, Any], root: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        whole = _resolve(part["$ref"], root) if "$ref" in part else part
        for key, value in whole.items():
            if key == "properties":
                merged[key] = merged.get(key, {}) | value
            elif key == "required":
                merged[key] = [*merged.get(key, []), *value]
            else:
                merged[key] = value
    return merged


def _resolve(reference: Any, root: Any) -> Any:
    """Return what a local reference (`#`, `#/$defs/name`) points to."""
    if not isinstance(reference, str) or not reference.startswith("#"):
        raise SimulatedError(f"schema: cannot follow {reference!r}", param="schema")
    found = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        if not part:
            continue
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(found, dict) or name not in found:
            raise SimulatedError(f"schema: {reference!r} points nowhere", param="schema")
        found = found[name]
    return found
