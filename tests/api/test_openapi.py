"""The OpenAPI document: valid, whole, and true to the code that it is made from."""

import json
import re
from typing import Any

import jsonschema_rs
import pytest
from django.test import Client
from openapi_spec_validator import validate

from api import errors
from api.manage.urls import urlpatterns
from api.models import Service
from api.openapi.document import document
from api.operations import OPERATIONS
from api.router import match
from api.surfaces import SURFACES

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def spec() -> dict[str, Any]:
    return document("Tollgate", "contact@tollgate.example")


def schema_of(spec: dict[str, Any], name: str) -> jsonschema_rs.Validator:
    """Return the validator of a component's schema."""
    whole = {"$ref": f"#/components/schemas/{name}", "components": spec["components"]}
    return jsonschema_rs.Draft202012Validator(whole)


def operations(spec: dict[str, Any]) -> list[dict[str, Any]]:
    methods = ("get", "post", "patch", "put", "delete")
    return [item[method] for item in spec["paths"].values() for method in methods if method in item]


def test_it_is_valid_openapi_3_1(spec) -> None:
    assert spec["openapi"] == "3.1.0"
    validate(spec)


def test_every_endpoint_is_described_as_it_is_routed(spec) -> None:
    described = {
        (path, method)
        for path, item in spec["paths"].items()
        if "manage" not in path
        for method in item
    }
    assert described == {
        (operation.path, method.lower())
        for operation in OPERATIONS.values()
        for method in operation.methods
        if method != "HEAD"
    }
    for operation in OPERATIONS.values():
        for surface in SURFACES:
            if not operation.is_served_at(surface):
                continue
            found = match(surface.mount + operation.path)
            assert found is not None
            assert (found.surface, found.operation) == (surface, operation)


def test_every_paid_endpoint_and_its_quote_take_a_maximum_cost(spec) -> None:
    for operation in OPERATIONS.values():
        described = spec["paths"][operation.path][operation.method].get("parameters", ())
        headers = {each["name"] for each in described if each["in"] == "header"}
        if operation.is_paid:
            assert headers == {"Idempotency-Key", "X-Max-Cost"}
        else:
            assert headers == ({"X-Max-Cost"} if operation.is_quote else set())


def test_every_mount_is_a_server_and_v1_the_first(spec) -> None:
    mounts = [server["url"] for server in spec["servers"]]
    assert mounts[0] == "/v1"
    assert sorted(mounts) == sorted(surface.mount or "/" for surface in SURFACES)


def test_the_management_api_is_in_it_at_its_own_server(spec) -> None:
    described = {path: item for path, item in spec["paths"].items() if "manage" in path}
    named = [pattern for pattern in urlpatterns if pattern.name]
    assert len(described) == len(named) == 8
    for item in described.values():
        assert item["servers"] == [{"url": "/"}]


def test_operations_have_unique_ids_a_summary_and_error_answers(spec) -> None:
    found = operations(spec)
    ids = [operation["operationId"] for operation in found]
    assert len(ids) == len(set(ids))
    for operation in found:
        assert operation["summary"]
        assert "500" in operation["responses"]
        secured = operation.get("security", spec["security"])
        assert ("401" in operation["responses"]) == bool(secured)


def test_every_field_of_a_request_says_what_it_is_for(spec) -> None:
    for row in OPERATIONS.values():
        if row.body is not None:
            properties = spec["components"]["schemas"][row.body.__name__]["properties"]
            assert properties.keys() == row.notes.keys()
            assert all(schema["description"] for schema in properties.values())


@pytest.mark.parametrize("name", OPERATIONS)
def test_the_examples_match_their_schemas(spec, name: str) -> None:
    row = OPERATIONS[name]
    if row.answer is not None:
        schema_of(spec, row.answer.__name__).validate(row.answer_example)
    if row.body is not None:
        for example in row.examples.values():
            schema_of(spec, row.body.__name__).validate(example)
    if row.stream is not None:
        events = re.findall(r"^data: (\{.*\})$", row.stream_example, re.M)
        assert events
        for event in events:
            schema_of(spec, row.stream.__name__).validate(json.loads(event))


def test_a37_every_error_is_an_example_that_matches_the_one_form(spec) -> None:
    validator = schema_of(spec, "Error")
    shown = set()
    for name, response in spec["components"]["responses"].items():
        for example in response["content"]["application/json"]["examples"].values():
            validator.validate(example["value"])
            shown.add((int(name.removeprefix("Error")), example["value"]["error"]["code"]))
    for kind in every(errors.ApiError):
        assert (kind.status, kind.code) in shown


def every(kind: type[errors.ApiError]) -> list[type[errors.ApiError]]:
    return [kind, *(each for child in kind.__subclasses__() for each in every(child))]


def test_patterns_are_javascripts(spec) -> None:
    assert "\\Z" not in json.dumps(spec).replace("\\\\", "\\")


def test_anybody_reads_it_under_the_services_name_and_may_keep_it_a_while(client: Client) -> None:
    Service.objects.create(name="Weatmood", contact_email="contact@weatmood.example")
    answer = client.get("/openapi.json")
    assert answer.status_code == 200
    assert answer["Content-Type"] == "application/json"
    assert answer["Access-Control-Allow-Origin"] == "*"
    assert "max-age=300" in answer["Cache-Control"]
    assert answer.json()["info"]["title"] == "Weatmood API"
    assert answer.json()["info"]["contact"] == {"email": "contact@weatmood.example"}
    again = client.get("/openapi.json", headers={"If-None-Match": answer["ETag"]})
    assert again.status_code == 304
    assert client.post("/openapi.json").status_code == 405
