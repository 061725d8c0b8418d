"""What is a JSON schema is told as the meta-schema of draft 2020-12 tells it, and in time."""

import time
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.errors import InvalidValueError
from api.json_schema import _RULES, _WALKS, MAX_SCHEMAS, check_schema

# Taken though the draft has other forms for them now.
OLDER = {"definitions"}
KEYWORDS = sorted((_RULES.keys() | _WALKS.keys()) - OLDER)

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 3),
    st.sampled_from([0.5, 2.0, -1.0]),
    st.sampled_from(["string", "object", "a", ""]),
)


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    schema_like = st.dictionaries(st.sampled_from([*KEYWORDS, "x"]), inner, max_size=3)
    return st.one_of(st.lists(inner, max_size=3), schema_like)


values = st.recursive(scalars, _larger, max_leaves=12)
schemas = st.dictionaries(st.sampled_from([*KEYWORDS, "x"]), values, max_size=4)


def is_schema(schema: dict[str, Any]) -> bool:
    """Return what our check says."""
    try:
        check_schema(schema, "schema")
    except InvalidValueError:
        return False
    return True


def has_older_form(value: Any) -> bool:
    """Return whether a list of `items` is anywhere in it."""
    if isinstance(value, dict):
        return isinstance(value.get("items"), list) or any(map(has_older_form, value.values()))
    return isinstance(value, list) and any(map(has_older_form, value))


# References and names have patterns in the meta-schema; whoever resolves them judges them.
_NAMES = {"$id", "$schema", "$ref", "$anchor", "$dynamicRef", "$dynamicAnchor"}


@given(schemas)
def test_it_agrees_with_the_meta_schema(schema: dict[str, Any]) -> None:
    if has_older_form(schema) or any(name in repr(schema) for name in _NAMES):
        return
    validator = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    # "format" and "pattern" are annotations here: no regular expression is compiled.
    assert is_schema(schema) == validator.is_valid(schema), schema


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_every_keyword_refuses_something(keyword: str) -> None:
    assert any(not is_schema({keyword: value}) for value in (5, "x", [], {"a": 5}, None))


def test_the_place_of_a_mistake_is_named() -> None:
    schema = {"properties": {"a": {"items": {"anyOf": [True, {"required": ["x", "x"]}]}}}}
    with pytest.raises(InvalidValueError) as error:
        check_schema(schema, "s")
    assert error.value.param == "s.properties.a.items.anyOf[1].required"
    assert "an array of different strings" in error.value.message


@pytest.mark.parametrize(
    "schema",
    [{"items": [{"type": "string"}]}, {"definitions": {"a": {}}}, {}, {"novelty": [5]}],
)
def test_older_forms_and_unknown_keywords_are_taken(schema: dict[str, Any]) -> None:
    assert is_schema(schema)


def test_large_and_deep_schemas_are_refused_in_time() -> None:
    deep: dict[str, Any] = {}
    for _ in range(900):
        deep = {"not": deep}
    assert is_schema(deep)
    wide = {"properties": {str(number): {} for number in range(MAX_SCHEMAS)}}
    began_at = time.process_time()
    assert not is_schema(wide)
    assert not is_schema({"required": [str(number % 99_999) for number in range(100_000)]})
    assert time.process_time() - began_at < 1
