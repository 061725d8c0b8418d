"""Samples of JSON schemas."""

import pytest

from simulator.errors import SimulatedError
from simulator.schema_sample import sample

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "more": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "left", "more"],
        }
    },
    "$ref": "#/$defs/node",
}


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({}, "Tokyo"),
        ({"type": "object"}, {}),
        ({"type": "object", "properties": {"a": {"type": "null"}}}, {"a": None}),
        ({"properties": {"a": {}, "b": {}}, "required": ["b"]}, {"b": "Tokyo"}),
        ({"type": "object", "required": ["free"]}, {"free": "Tokyo"}),
        ({"type": ["integer", "null"]}, 1),
        ({"type": "boolean"}, True),
        ({"enum": ["x", "y"]}, "x"),
        ({"const": 5}, 5),
        ({"type": "array", "items": {"type": "integer"}}, [1]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [1, 1, 1]),
        ({"type": "array", "maxItems": 0}, []),
        ({"type": "array", "prefixItems": [{"const": 1}, {"const": "a"}]}, [1, "a"]),
        ({"type": "integer", "minimum": 5}, 5),
        ({"type": "integer", "exclusiveMinimum": 5}, 6),
        ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer", "multipleOf": 10, "minimum": 11}, 20),
        ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
        ({"type": "number", "maximum": 0.25}, 0.25),
        ({"type": "string", "minLength": 8}, "Tokyoooo"),
        ({"type": "string", "maxLength": 2}, "To"),
        ({"type": "string", "format": "date"}, "2026-01-01"),
        ({"anyOf": [{"type": "integer"}, {"type": "string"}]}, 1),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
            {"a": 1, "b": 2},
        ),
        ({"$defs": {"a/b": {"const": 7}}, "$ref": "#/$defs/a~1b"}, 7),
    ],
)
def test_a_sample_satisfies_its_schema(schema, value):
    assert sample(schema) == value


def test_a_recursive_schema_ends():
    tree = sample(TREE)
    depth = 0
    while tree is not None:
        assert set(tree) == {"name", "left", "more"}
        tree, depth = tree["left"], depth + 1

    assert 1 <= depth < 10


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$ref": "#/$defs/none"},
        {"$ref": "https://example.com/schema.json"},
        {"type": "color"},
        {"type": "array", "items": False, "minItems": 1},
        "text",
    ],
)
def test_what_cannot_be_sampled_is_refused(schema):
    with pytest.raises(SimulatedError):
        sample(schema)


def test_a_schema_that_cannot_be_sampled_is_the_requests_fault(sim):
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"$ref": "#"}}}

    assert sim.chat(response_format=wanted).status == 400
