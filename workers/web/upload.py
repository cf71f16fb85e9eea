"""A multipart upload: the file goes into the database as it comes in, its fields are checked all at once at the end.

However large the file, no more than a part of it is in memory, the client is read no faster than parts are stored,
and the answer waits for the last part alone.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import PurePath
from typing import Any

import orjson
import structlog
from fastapi import Request
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from domain.cohort import Category, Mapping
from domain.errors import Detail
from domain.validation import details, refused
from infra.db import uploads
from infra.db.cohorts import PART_BYTES
from infra.db.uploads import Accepted
from workers.web.errors import MediaTypeError, TooLargeError
from workers.web.media_types import FORM as MULTIPART
from workers.web.media_types import media_type
from workers.web.multipart import Part, events
from workers.web.repeated_keys import RepeatedKeyError, TooDeepError, check_keys

logger = structlog.get_logger()

MOST_MAPPING_BYTES = 256 * 1024
LONGEST_NAME = 200
UNNAMED = "cohort"

COHORT_FILE = "cohort_file"
MAPPING_FIELD = "mapping"
MAPPING_FILE = "cohort_transformation_file"
CATEGORY = "cohort_category"
MOST_PARTS = 20
FIELDS = frozenset({COHORT_FILE, "name", CATEGORY, MAPPING_FIELD, MAPPING_FILE})
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            MULTIPART: {
                "schema": {
                    "type": "object",
                    "required": [COHORT_FILE],
                    "properties": {
                        COHORT_FILE: {"type": "string", "format": "binary", "description": "CSV, UTF-8"},
                        "name": {"type": "string", "minLength": 1, "maxLength": LONGEST_NAME},
                        CATEGORY: {"type": "string", "enum": list(Category), "default": Category.CONTACTS},
                        MAPPING_FIELD: {"type": "string", "description": "JSON: which column is what"},
                        MAPPING_FILE: {"type": "string", "format": "binary", "description": "the same as a file"},
                    },
                }
            }
        },
    }
}


class Arrival:
    """A file on its way into the database, in parts; `digest` tells it from another."""

    def __init__(self, database: AsyncEngine, cohort_id: int, most_bytes: int) -> None:
        self.cohort_id = cohort_id
        self._database = database
        self._most_bytes = most_bytes
        self._waiting = bytearray()
        self._parts = 0
        self._digest = hashlib.sha256()

    async def take(self, data: bytes) -> None:
        """TooLargeError when the file is longer than allowed."""
        self._waiting += data
        if self._parts * PART_BYTES + len(self._waiting) > self._most_bytes:
            raise TooLargeError(self._most_bytes)
        while len(self._waiting) >= PART_BYTES:
            await self._store(bytes(self._waiting[:PART_BYTES]))
            del self._waiting[:PART_BYTES]

    async def end(self) -> None:
        if self._waiting:
            await self._store(bytes(self._waiting))
            self._waiting.clear()

    def digest(self) -> bytes:
        return self._digest.digest()

    async def discard(self) -> None:
        """Nothing is left of it, unless it was accepted; what cannot be discarded now is left to the sweep."""
        with suppress(OSError, SQLAlchemyError):
            async with self._database.begin() as connection:
                await uploads.discard(connection, self.cohort_id)

    async def _store(self, part: bytes) -> None:
        await asyncio.to_thread(self._digest.update, part)
        async with self._database.begin() as connection:
            await uploads.store(connection, self.cohort_id, self._parts, part)
        self._parts += 1


@dataclass(slots=True)
class Form:
    """The fields of an upload as they came: what was given, in which kind of part, and how often."""

    fields: dict[str, bytearray] = field(default_factory=dict)
    filenames: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)

    def begin(self, part: Part) -> bytearray | None:
        """Where the pieces of a part go; None for the file. Of a field that is given twice the last one is kept."""
        self.names.append(part.name)
        if len(self.names) > MOST_PARTS:
            raise HTTPException(HTTPStatus.BAD_REQUEST)
        if part.filename is not None:
            self.filenames.setdefault(part.name, part.filename)
            if part.name == COHORT_FILE and self.names.count(COHORT_FILE) == 1:
                return None
        self.fields[part.name] = bytearray()
        return self.fields[part.name]

    def text(self, name: str) -> str | None:
        """A field's text; None when it is not given, and for a file where a text should be."""
        given = self.fields.get(name)
        return None if given is None or name in self.filenames else given.decode(errors="replace")


@asynccontextmanager
async def arriving(
    request: Request, database: AsyncEngine, cohort_id: int, most_bytes: int
) -> AsyncIterator[tuple[Arrival, Accepted]]:
    """The upload of this request, stored; discarded at the end unless it was accepted."""
    arrival = Arrival(database, cohort_id, most_bytes)
    try:
        form = await _received(request, arrival)
        yield arrival, _said(form)
    except ClientDisconnect:
        logger.info("upload.broken_off", cohort_id=cohort_id)
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None
    finally:
        await arrival.discard()


def check_media_type(request: Request) -> None:
    given = media_type(request.scope)
    if given != MULTIPART:
        raise MediaTypeError(f"the body is '{given}'", f"send {MULTIPART} with a cohort_file")


async def _received(request: Request, arrival: Arrival) -> Form:
    form, target = Form(), None
    async for event in events(request.headers["content-type"], request.stream()):
        if isinstance(event, Part):
            target = form.begin(event)
        elif target is None:
            await arrival.take(event)
        elif len(target) <= MOST_MAPPING_BYTES:
            target += event
    await arrival.end()
    return form


def _said(form: Form) -> Accepted:
    """InvalidError names everything that is wrong with the fields."""
    mapping, problems = _mapping(form)
    problems = (*_unknown(form), *_name_problems(form), *_category_problems(form), *problems)
    if COHORT_FILE not in form.filenames:
        raise refused((Detail(COHORT_FILE, "is missing; send the CSV as a file"), *problems))
    if problems:
        raise refused(problems)
    return Accepted(_name(form), Category(form.text(CATEGORY) or Category.CONTACTS), mapping)


def _unknown(form: Form) -> list[Detail]:
    """A field that means something to its sender must not pass in silence."""
    unknown = [Detail(name, "is not a field here; leave it out or correct its name") for name in {*form.names} - FIELDS]
    return unknown + [Detail(name, "is given twice") for name in FIELDS if form.names.count(name) > 1]


def _name_problems(form: Form) -> list[Detail]:
    name = form.text("name")
    is_good = name is not None and 1 <= len(name.strip()) <= LONGEST_NAME and "\0" not in name
    if "name" not in form.names or is_good:
        return []
    return [Detail("name", f"must be a text of 1 to {LONGEST_NAME} characters")]


def _name(form: Form) -> str:
    """The name that was given, else the file's without its folders and its ending."""
    given = form.text("name")
    if given is not None:
        return given.strip()
    path = form.filenames[COHORT_FILE].replace("\\", "/").replace("\0", "")
    return PurePath(path).stem.strip(" .")[:LONGEST_NAME].strip() or UNNAMED


def _category_problems(form: Form) -> list[Detail]:
    if CATEGORY not in form.names or form.text(CATEGORY) in list(Category):
        return []
    return [Detail(CATEGORY, f"must be one of {', '.join(Category)}")]


def _mapping(form: Form) -> tuple[Mapping | None, tuple[Detail, ...]]:
    given = [name for name in (MAPPING_FIELD, MAPPING_FILE) if name in form.fields]
    if not given:
        return None, ()
    if len(given) > 1:
        return None, (Detail(MAPPING_FIELD, f"give either {MAPPING_FIELD} or {MAPPING_FILE}"),)
    return _parsed(given[0], bytes(form.fields[given[0]]))


def _parsed(field: str, text: bytes) -> tuple[Mapping | None, tuple[Detail, ...]]:
    try:
        given = orjson.loads(text) if len(text) <= MOST_MAPPING_BYTES else None
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        return None, (Detail(field, f"must be a JSON object of at most {MOST_MAPPING_BYTES:,} bytes"),)
    try:
        check_keys(text, given)
    except RepeatedKeyError:
        return None, (Detail(field, "names a key twice in one object; send it once"),)
    except TooDeepError as error:
        return None, (Detail(field, f"is {error}; send it flatter"),)
    try:
        return Mapping.model_validate(given), ()
    except ValidationError as error:
        found = details(error.errors(include_url=False), given)
        return None, tuple(Detail(f"{field}.{one.field}", one.message) for one in found)
