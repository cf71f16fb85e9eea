"""A multipart body as it arrives: parts and pieces of them in order, never the whole. Nothing is spooled.

A body that is cut off before its closing boundary is refused, so that half a file is never taken for a whole one.
"""

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


@dataclass(frozen=True, slots=True)
class Part:
    """The beginning of a part; `filename` is None for a field."""

    name: str
    filename: str | None


Event = Part | bytes


async def events(content_type: str, body: AsyncIterable[bytes]) -> AsyncIterator[Event]:
    """Each part, followed by its pieces; HTTPException 400 when the body is not well-formed."""
    boundary = parse_options_header(content_type)[1].get(b"boundary")
    if not boundary:
        raise HTTPException(HTTPStatus.BAD_REQUEST)
    gathered = _Gathered()
    with _refusing():
        parser = MultipartParser(boundary, gathered.callbacks())
    async for chunk in body:
        with _refusing():
            parser.write(chunk)
        for event in gathered.taken():
            yield event
    if not gathered.is_whole:
        raise HTTPException(HTTPStatus.BAD_REQUEST)


@contextmanager
def _refusing() -> Iterator[None]:
    try:
        yield
    except FormParserError:
        raise HTTPException(HTTPStatus.BAD_REQUEST) from None


class _Gathered:
    """What the parser has told since it was last asked."""

    def __init__(self) -> None:
        self.is_whole = False
        self._events: list[Event] = []
        self._header = (bytearray(), bytearray())
        self._disposition = b""

    def callbacks(self) -> "MultipartCallbacks":
        return {
            "on_part_begin": self._begin,
            "on_header_field": lambda data, start, end: self._header[0].extend(data[start:end]),
            "on_header_value": lambda data, start, end: self._header[1].extend(data[start:end]),
            "on_header_end": self._end_header,
            "on_headers_finished": self._named,
            "on_part_data": lambda data, start, end: self._events.append(bytes(data[start:end])),
            "on_end": self._end,
        }

    def taken(self) -> list[Event]:
        events, self._events = self._events, []
        return events

    def _begin(self) -> None:
        self._disposition = b""

    def _end_header(self) -> None:
        field, value = self._header
        if bytes(field).lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _named(self) -> None:
        options = parse_options_header(self._disposition)[1]
        if b"name" not in options:
            raise FormParserError("a part has no name")
        filename = options.get(b"filename")
        self._events.append(Part(_text(options[b"name"]), None if filename is None else _text(filename)))

    def _end(self) -> None:
        self.is_whole = True


def _text(raw: bytes) -> str:
    return raw.decode(errors="replace")
