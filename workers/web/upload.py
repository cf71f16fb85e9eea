"""A multipart upload: spooled to disk as it comes in, its fields checked all at once, then read as chunks."""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, BinaryIO

import orjson
from fastapi import Request
from pydantic import ValidationError
from starlette.datastructures import FormData, UploadFile

from domain.cohort import Category, Mapping, Users
from domain.errors import Detail
from domain.validation import details, refused
from workers.web.errors import MediaTypeError, TooLargeError

CHUNK_BYTES = 1024 * 1024
MOST_MAPPING_BYTES = 256 * 1024
LONGEST_NAME = 200
UNNAMED = "cohort"

COHORT_FILE = "cohort_file"
MAPPING_FIELD = "mapping"
MAPPING_FILE = "cohort_transformation_file"
CATEGORY = "cohort_category"
FIELDS = frozenset({COHORT_FILE, "name", CATEGORY, MAPPING_FIELD, MAPPING_FILE})
FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
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


@dataclass(frozen=True, slots=True)
class Upload:
    """A file at hand, with the name and the mapping it came with."""

    file: BinaryIO
    name: str
    category: Category
    mapping: Mapping | None

    @classmethod
    def of_users(cls, users: Users) -> "Upload":
        """Users as JSON lines."""
        lines = b"".join(user.model_dump_json(exclude_unset=True).encode() + b"\n" for user in users.users)
        return cls(io.BytesIO(lines), users.name, users.cohort_category, None)

    async def chunks(self) -> AsyncIterator[bytes]:
        self.file.seek(0)
        while chunk := await asyncio.to_thread(self.file.read, CHUNK_BYTES):
            yield chunk

    async def digest(self) -> bytes:
        """What tells this upload from another."""
        digest = hashlib.sha256()
        async for chunk in self.chunks():
            await asyncio.to_thread(digest.update, chunk)
        mapping = self.mapping.model_dump_json() if self.mapping else ""
        return digest.digest() + orjson.dumps([self.name, self.category, mapping])


@asynccontextmanager
async def uploaded(request: Request, most_bytes: int) -> AsyncIterator[Upload]:
    """The upload of this request; its file is gone afterwards."""
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "multipart/form-data":
        raise MediaTypeError(f"the body is '{media_type}'", "send multipart/form-data with a cohort_file")
    async with request.form(max_files=2, max_fields=len(FIELDS), max_part_size=MOST_MAPPING_BYTES) as form:
        yield await _read(form, most_bytes)


async def _read(form: FormData, most_bytes: int) -> Upload:
    file = form.get(COHORT_FILE)
    mapping, problems = await _mapping(form)
    problems = (*_unknown(form), *_name_problems(form), *_category_problems(form), *problems)
    if not isinstance(file, UploadFile):
        raise refused((Detail(COHORT_FILE, "is missing; send the CSV as a file"), *problems))
    if problems:
        raise refused(problems)
    if (file.size or 0) > most_bytes:
        raise TooLargeError(most_bytes)
    return Upload(file.file, _name(form, file), _category(form), mapping)


def _unknown(form: FormData) -> list[Detail]:
    """A field that means something to its sender must not pass in silence."""
    unknown = [Detail(name, "is not a field here; leave it out or correct its name") for name in form.keys() - FIELDS]
    return unknown + [Detail(name, "is given twice") for name in FIELDS if len(form.getlist(name)) > 1]


def _name_problems(form: FormData) -> list[Detail]:
    name = form.get("name")
    if name is None or (isinstance(name, str) and 1 <= len(name.strip()) <= LONGEST_NAME):
        return []
    return [Detail("name", f"must be a text of 1 to {LONGEST_NAME} characters")]


def _category(form: FormData) -> Category:
    return Category(str(form.get(CATEGORY, Category.CONTACTS)))


def _category_problems(form: FormData) -> list[Detail]:
    given = form.get(CATEGORY, Category.CONTACTS)
    return [] if given in list(Category) else [Detail(CATEGORY, f"must be one of {', '.join(Category)}")]


def _name(form: FormData, file: UploadFile) -> str:
    given = form.get("name")
    return given.strip() if isinstance(given, str) else PurePath(file.filename or "").stem[:LONGEST_NAME] or UNNAMED


async def _mapping(form: FormData) -> tuple[Mapping | None, tuple[Detail, ...]]:
    given = [(name, form[name]) for name in (MAPPING_FIELD, MAPPING_FILE) if name in form]
    if not given:
        return None, ()
    if len(given) > 1:
        return None, (Detail(MAPPING_FIELD, f"give either {MAPPING_FIELD} or {MAPPING_FILE}"),)
    field, value = given[0]
    text = await value.read(MOST_MAPPING_BYTES + 1) if isinstance(value, UploadFile) else value.encode()
    return _parsed(field, text)


def _parsed(field: str, text: bytes) -> tuple[Mapping | None, tuple[Detail, ...]]:
    try:
        given = orjson.loads(text) if len(text) <= MOST_MAPPING_BYTES else None
    except orjson.JSONDecodeError:
        given = None
    if not isinstance(given, dict):
        return None, (Detail(field, f"must be a JSON object of at most {MOST_MAPPING_BYTES:,} bytes"),)
    try:
        return Mapping.model_validate(given), ()
    except ValidationError as error:
        found = details(error.errors(include_url=False), given)
        return None, tuple(Detail(f"{field}.{one.field}", one.message) for one in found)
