"""The planning endpoints against their documents (`planning_documents.json`, OpenAPI 3.0): shapes, examples, words."""

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator
from sqlalchemy import text

from tests.workers.web.asking import Api

DOCUMENTS: dict[str, Any] = json.loads(Path(__file__).with_name("planning_documents.json").read_text())
PATHS = tuple(DOCUMENTS["paths"])
ROOT = "#/components/schemas/"
# What errors look like is described once for the whole API.
NAMED_HERE = {"ErrorResponse": "ErrorAnswer"}
STATED = ("format", "minimum", "enum")

Schema = dict[str, Any]


@pytest.fixture
def published(api: Api) -> Schema:
    described: Schema = api.anonymous("GET", "/api/openapi.json").json()
    return described


def test_every_example_is_accepted_by_what_is_published(published: Schema) -> None:
    faults = {
        name: [str(one) for one in published_validator(published, name).iter_errors(schema["example"])]
        for name, schema in DOCUMENTS["schemas"].items()
    }

    assert len(faults) == 8
    assert not any(faults.values()), faults


def test_an_answer_with_contacts_in_several_lists_is_accepted_too(published: Schema) -> None:
    data = DOCUMENTS["schemas"]["ValidateContactsResponse"]["properties"]["data"]["example"]

    assert published_validator(published, "ValidateContactsResponse").is_valid({"success": True, "data": data})


def test_what_is_published_states_all_that_the_documents_state(published: Schema) -> None:
    ours = {ROOT + name: schema for name, schema in published["components"]["schemas"].items()}
    theirs = {ROOT + name: schema for name, schema in DOCUMENTS["schemas"].items()}

    found = {
        name: differences(stated(schema, theirs), stated(ours[ROOT + NAMED_HERE.get(name, name)], ours), name)
        for name, schema in DOCUMENTS["schemas"].items()
    }

    assert not any(found.values()), found


@pytest.mark.parametrize("path", PATHS)
def test_bodies_and_answers_are_those_of_the_document(published: Schema, path: str) -> None:
    ours, theirs = published["paths"][path]["post"], DOCUMENTS["paths"][path]

    assert ours["summary"] == theirs["summary"]
    assert ours["requestBody"]["required"]
    assert referred(ours["requestBody"]) == referred(theirs["requestBody"])
    assert referred(ours["responses"]["200"]) == referred(theirs["responses"]["200"])
    assert ours["responses"]["200"]["description"] == theirs["responses"]["200"]["description"]
    assert theirs["responses"].keys() <= ours["responses"].keys()
    assert "400" not in theirs["responses"] or says_400(ours) == says_400(theirs)


@pytest.mark.parametrize("path", PATHS)
def test_the_documents_examples_are_answered_as_documented(api: Api, path: str) -> None:
    operation = DOCUMENTS["paths"][path]
    example = DOCUMENTS["schemas"][referred(operation["requestBody"])]["example"]

    answers = [limited(api, quota)("POST", path, json=example) for quota in (None, 0, 1, 500)]

    assert [one.status_code for one in answers] == [200] * 4
    validator = documented_validator(referred(operation["responses"]["200"]))
    assert [str(fault) for one in answers for fault in validator.iter_errors(one.json())] == []


@pytest.mark.parametrize("path", PATHS)
def test_a_missing_field_is_told_in_the_documents_words(api: Api, path: str) -> None:
    operation = DOCUMENTS["paths"][path]
    body = DOCUMENTS["schemas"][referred(operation["requestBody"])]
    bodies = [
        (name, without)
        for name in body["required"]
        for without in (
            body["example"] | {name: None},
            {one: body["example"][one] for one in body["example"] if one != name},
        )
    ]

    answers = [(name, api("POST", path, json=without)) for name, without in bodies]

    words = says_400(operation) if "400" in operation["responses"] else "contacts is required"
    assert {(one.status_code, one.json()["message"]) for _, one in answers} == {(400, words)}
    assert all([one["field"] for one in answer.json()["details"]] == [name] for name, answer in answers)
    assert all(documented_validator("ErrorResponse").is_valid(answer.json()) for _, answer in answers)


def limited(api: Api, quota: int | None) -> Api:
    """The same, with this daily quota."""
    statement = text("UPDATE organizations SET daily_sms_quota = :quota")
    api.rows(lambda db: db.execute(statement, {"quota": quota}))
    return api


def published_validator(published: Schema, name: str) -> Draft202012Validator:
    return Draft202012Validator(published | {"$ref": ROOT + NAMED_HERE.get(name, name)}, validate_formats=True)


def documented_validator(name: str) -> Draft202012Validator:
    schema = {"components": {"schemas": nullable(DOCUMENTS["schemas"])}, "$ref": ROOT + name}
    return Draft202012Validator(schema, validate_formats=True)


def referred(described: Schema) -> str:
    reference: str = described["content"]["application/json"]["schema"]["$ref"]
    return reference.removeprefix(ROOT)


def says_400(operation: Schema) -> str:
    description: str = operation["responses"]["400"]["description"]
    return description


def nullable(value: Any) -> Any:
    """OpenAPI 3.0's way to say null in JSON Schema's."""
    if isinstance(value, list):
        return [nullable(one) for one in value]
    if not isinstance(value, dict):
        return value
    found = {name: nullable(one) for name, one in value.items() if name != "nullable"}
    return found | ({"type": [found["type"], "null"]} if value.get("nullable") else {})


def stated(schema: Schema, schemas: dict[str, Schema]) -> Schema:
    """What a schema states, in one form for OpenAPI 3.0 and 3.1."""
    if "$ref" in schema:
        return stated(schemas[schema["$ref"]], schemas)
    if "anyOf" in schema:
        some, null = schema["anyOf"]
        assert null == {"type": "null"}
        return stated(some, schemas) | {"null": True}
    found = {name: schema[name] for name in STATED if name in schema}
    found |= {"enum": [schema["const"]]} if "const" in schema else {}
    found |= {"items": stated(schema["items"], schemas)} if "items" in schema else {}
    if schema.get("properties"):
        found["properties"] = {name: stated(one, schemas) for name, one in schema["properties"].items()}
        found["required"] = sorted(schema.get("required", ()))
        found["additional"] = schema.get("additionalProperties", True)
    return found | {"type": schema["type"], "null": schema.get("nullable", False)}


def differences(theirs: Any, ours: Any, place: str) -> list[str]:
    """Where ours says otherwise; that ours says more, as of errors what always stands there, is none."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        return [
            one
            for name, value in theirs.items()
            for one in differences(value, ours.get(name), f"{place}.{name}")
            if not (name == "required" and theirs[name] == [])
        ]
    return [] if theirs == ours else [f"{place}: {theirs} in the document, {ours} here"]
