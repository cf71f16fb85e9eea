"""What requests carry beside their bodies: ids in paths, paging, the media type, the version they expect."""

import re
from datetime import datetime
from http import HTTPMethod
from typing import Annotated, Literal

from fastapi import Depends, Header, Path, Query, Request

from domain.attempt import instant
from infra.db.listing import Page
from workers.web.auth import GREATEST_ID, TheRuntime
from workers.web.errors import MediaTypeError

Id = Annotated[int, Path(ge=1, le=GREATEST_ID)]
Search = Annotated[str | None, Query(min_length=1, max_length=200)]
WITH_BODY = frozenset({HTTPMethod.POST, HTTPMethod.PUT, HTTPMethod.PATCH})

_ETAG = re.compile(r'"([0-9]{1,10})"')


def now_of(runtime: TheRuntime) -> datetime:
    """The present instant, on the clock everybody shares."""
    return instant(runtime.clock.now())


def paging(
    offset: Annotated[int, Query(ge=0, le=GREATEST_ID)] = 0,
    limit: Annotated[int, Query(ge=1, le=100)] = 10,
    sort_order: Literal["asc", "desc"] = "desc",
    search: Search = None,
) -> Page:
    return Page(offset=offset, limit=limit, descending=sort_order == "desc", search=search)


def json_only(request: Request) -> None:
    """MediaTypeError for a body that does not call itself JSON."""
    if request.method not in WITH_BODY or not _has_body(request):
        return
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        raise MediaTypeError(f"the body is '{media_type}'", "send application/json")


def expected_epochs(if_match: Annotated[str | None, Header()] = None) -> frozenset[int] | None:
    """The versions an `If-Match` accepts, None when it accepts any; weak and foreign tags accept nothing."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = [_ETAG.fullmatch(tag.strip()) for tag in if_match.split(",")]
    return frozenset(int(tag[1]) for tag in tags if tag)


def _has_body(request: Request) -> bool:
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0") != "0"


Now = Annotated[datetime, Depends(now_of)]
Paging = Annotated[Page, Depends(paging)]
Expected = Annotated[frozenset[int] | None, Depends(expected_epochs)]
