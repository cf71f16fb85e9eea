"""A client of the API, as small as a person's own would be."""

import http.client
import json
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from domain.errors import OutdialError


class Api:
    """JSON in, JSON out; an answer that is no success raises with the API's own words."""

    def __init__(self, url: str, token: str) -> None:
        parts = urlsplit(url)
        self._host, self._port = str(parts.hostname), parts.port
        self._token = token

    def get(self, path: str) -> Any:
        return self._send("GET", path, b"", "application/json")

    def post(self, path: str, body: object) -> Any:
        return self._send("POST", path, json.dumps(body).encode(), "application/json")

    def put(self, path: str, body: object) -> Any:
        return self._send("PUT", path, json.dumps(body).encode(), "application/json")

    def patch(self, path: str, body: object) -> Any:
        return self._send("PATCH", path, json.dumps(body).encode(), "application/json")

    def upload(self, path: str, name: str, content: bytes) -> Any:
        """A CSV file as a form's `cohort_file`."""
        boundary = uuid4().hex
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="cohort_file"; filename="{name}"\r\n'
            "Content-Type: text/csv\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        return self._send("POST", path, body, f"multipart/form-data; boundary={boundary}")

    def _send(self, method: str, path: str, body: bytes, content_type: str) -> Any:
        connection = http.client.HTTPConnection(self._host, self._port, timeout=30)
        headers = {"Authorization": f"Bearer {self._token}", "Content-Type": content_type}
        try:
            connection.request(method, path, body or None, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= http.client.BAD_REQUEST:
            raise OutdialError(f"{method} {path} was answered {answer.status}", content.decode(errors="replace"))
        return json.loads(content) if content else None
