"""What a request calls its body: how much of it may come, and who reads it, depend on that."""

from starlette.datastructures import Headers
from starlette.types import Scope

JSON = "application/json"
FORM = "multipart/form-data"


def media_type(scope: Scope) -> str:
    """In lower case and without parameters; empty when none is named."""
    return Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
