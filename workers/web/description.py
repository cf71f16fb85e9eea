"""The description of the API (`/api/openapi.json`): what the framework cannot know of the routes.

Which errors an operation may answer follows from what it takes, by the rules below, so that no route lists them.
"""

from collections.abc import Iterator
from http import HTTPMethod
from typing import Any

from fastapi.routing import APIRoute
from pydantic import BaseModel

from workers.web import callbacks, once, replies
from workers.web.errors import ErrorAnswer, ErrorDetail
from workers.web.examples import EXAMPLES

Operation = dict[str, Any]

TITLE = "Outdial"
ABOUT = f"""Outbound campaigns: upload contacts, say when and how fast, and see what happened to everyone.

Every request carries `Authorization: Bearer <JWT>` with the claims `sub`, `org`, `exp` and `scope`. Every error has one
body: `message` says what is wrong, `error` what to do, `details` lists every broken field. Ids of other organizations
answer 404, like ids that do not exist. A POST that creates takes an `{once.HEADER}`: sent again with the same body
within a day, it gets the first answer again."""
TAGS = [
    {"name": "campaigns", "description": "What is dialled, how fast, when, and what is tried again"},
    {"name": "planning", "description": "When messages may be sent, how many a day, and to whom"},
    {"name": "cohorts", "description": "Lists of contacts of a campaign"},
    {"name": "attempts", "description": "What happened to whom"},
    {"name": "connections", "description": "Accounts and trunks at providers"},
    {"name": "contacts", "description": "The people an organization knows, whatever the campaign"},
    {"name": "opt-outs", "description": "Who must not be called"},
    {"name": "organization", "description": "What holds for all campaigns of an organization"},
    {"name": "webhooks", "description": "What customers were told of a campaign, or could not be told"},
    {"name": "callbacks", "description": "What providers report and hand in, signed with their connection's secret"},
    {"name": "health", "description": "Whether the stores answer"},
]

WRITING = frozenset({HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.PATCH, HTTPMethod.DELETE})
CREATED = frozenset({"201", "202"})
MADE_BY_FRAMEWORK = ("HTTPValidationError", "ValidationError")
RETRY_AFTER = {"Retry-After": {"description": "Seconds", "schema": {"type": "string"}}}
CHALLENGE = {"WWW-Authenticate": {"description": "How to prove oneself", "schema": {"type": "string"}}}
ERRORS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "400": ("BadInput", "The input breaks a rule; `details` names every field", {}),
    "401": ("Unauthenticated", "No token, or one that does not hold", CHALLENGE),
    "403": ("Forbidden", "The token lacks the scope that `message` names", CHALLENGE),
    "404": ("NotFound", "No such thing in this organization", {}),
    "409": ("Conflict", "The state forbids it, or the key was used for another request", {}),
    "412": ("Stale", "What was edited is not the newest version", {}),
    "413": ("TooLarge", "The body is too large", {}),
    "415": ("MediaType", "The body is of a type that is not taken here", {}),
    "429": ("TooManyRequests", "More requests a second than a user may send", RETRY_AFTER),
    "500": ("Crashed", "Something went wrong here", {}),
    "503": ("Away", "A store is away", RETRY_AFTER),
}


def operation_id(route: APIRoute) -> str:
    """`campaigns_create`: unique as long as functions of one tag have different names."""
    return f"{route.tags[0]}_{route.name}".replace("-", "_") if route.tags else route.name


def completed(schema: dict[str, Any]) -> dict[str, Any]:
    """The framework's description with every error that can happen, the keys, and the routes that stand beside it."""
    for beside in (callbacks, replies):
        schema["paths"].setdefault(beside.PATH, beside.described())
    components = schema.setdefault("components", {})
    for name in MADE_BY_FRAMEWORK:
        components.get("schemas", {}).pop(name, None)
    for model in (ErrorAnswer, ErrorDetail):
        components.setdefault("schemas", {})[model.__name__] = inline(model)
    components["responses"] = {name: _response(text, headers) for name, text, headers in ERRORS.values()}
    for path, method, operation in operations(schema):
        _complete(path, method, operation)
    anchored: dict[str, Any] = _anchored(schema)
    return anchored


def inline(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of one model; those it refers to stand among the components."""
    described = model.model_json_schema(ref_template="#/components/schemas/{model}")
    described.pop("$defs", None)
    return described


def operations(schema: dict[str, Any]) -> Iterator[tuple[str, HTTPMethod, Operation]]:
    """Path, method and operation of everything described."""
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            yield path, HTTPMethod(method.upper()), operation


def _anchored(value: Any) -> Any:
    """The same with patterns as ECMA has them, which knows `^` and `$` for the ends of a text only."""
    if isinstance(value, dict):
        return {_anchored(name): _anchored(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_anchored(one) for one in value]
    return value.replace(r"\A", "^").replace(r"\z", "$") if isinstance(value, str) else value


def _complete(path: str, method: HTTPMethod, operation: Operation) -> None:
    responses = operation["responses"]
    responses.pop("422", None)
    if operation["operationId"] in EXAMPLES:
        operation["requestBody"]["content"]["application/json"]["example"] = EXAMPLES[operation["operationId"]]
    if method is HTTPMethod.POST and "security" in operation and CREATED & responses.keys():
        operation.setdefault("parameters", []).append(once.PARAMETER)
    for status in sorted(_errors(path, method, operation)):
        responses.setdefault(status, {"$ref": f"#/components/responses/{ERRORS[status][0]}"})


def _errors(path: str, method: HTTPMethod, operation: Operation) -> set[str]:
    """Which errors can happen, from what the operation takes."""
    found = {"500", "503"}
    if "security" in operation:
        found |= {"400", "401", "403", "429"}
    if "{" in path:
        found.add("404")
    if "requestBody" in operation:
        found |= {"400", "413"}
    if method in WRITING and "security" in operation:
        found |= {"409", "413", "415"}
    if any(one["name"].lower() == "if-match" for one in operation.get("parameters", [])):
        found.add("412")
    return found


def _response(text: str, headers: dict[str, Any]) -> dict[str, Any]:
    body = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
    return {"description": text, "content": body} | ({"headers": headers} if headers else {})
