"""What a plain task does with a contact: a commit, the call, a commit; everything it can keep is kept.

Kept-alive connections to the provider and a database connection for each thread; the row has no index but its key.
"""

import json
import threading
import time
from typing import Any

import requests
from sqlalchemy import create_engine, text

from infra.crypto import SIGNATURE_HEADER, sign
from tests.bench.peers.settings import Peer

THREADS = 8
CALLER = "+14155550100"
TIMEOUT_SECONDS = 10
TABLE = """
    CREATE TABLE peer_attempts (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, contact_id bigint NOT NULL, phone text NOT NULL,
        created_at timestamptz NOT NULL DEFAULT now(), started_at timestamptz, ended_at timestamptz, ref text,
        outcome text)
"""
COUNTED = """
    SELECT count(*) FILTER (WHERE started_at IS NOT NULL), count(*) FILTER (WHERE outcome IS NOT NULL)
    FROM peer_attempts
"""
_OPEN = text("INSERT INTO peer_attempts (contact_id, phone) VALUES (:contact_id, :phone) RETURNING id")
_ANSWERED = text("""
    UPDATE peer_attempts SET started_at = to_timestamp(:started_at), ref = :ref, outcome = coalesce(outcome, :outcome),
        ended_at = CASE WHEN CAST(:outcome AS text) IS NULL THEN ended_at ELSE now() END
    WHERE id = :id
""")


class Dialing:
    """One in each process."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        url = peer.database_url.replace("postgresql://", "postgresql+psycopg://")
        self._database = create_engine(url, pool_size=THREADS, max_overflow=0)
        self._local = threading.local()

    def dial(self, contact_id: int, phone: str) -> None:
        with self._database.begin() as connection:
            attempt_id = connection.execute(_OPEN, {"contact_id": contact_id, "phone": phone}).scalar_one()
        started_at = time.time()
        said = self._call(attempt_id, phone)
        values = {"id": attempt_id, "started_at": started_at, "ref": said["ref"], "outcome": said.get("status")}
        with self._database.begin() as connection:
            connection.execute(_ANSWERED, values)

    def close(self) -> None:
        """Of the thread that calls."""
        self._database.dispose()
        self._session().close()

    def _call(self, attempt_id: int, phone: str) -> dict[str, Any]:
        order = {"attempt_id": attempt_id, "campaign_id": self._peer.campaign, "to": phone, "from": CALLER}
        body = json.dumps(order | {"callback_url": self._peer.callback_url}).encode()
        headers = {SIGNATURE_HEADER: sign(self._peer.secret, body, int(time.time()))}
        headers["Content-Type"] = "application/json"
        answer = self._session().post(self._peer.provider_url, data=body, headers=headers, timeout=TIMEOUT_SECONDS)
        answer.raise_for_status()
        said: dict[str, Any] = answer.json()
        return said

    def _session(self) -> requests.Session:
        if not hasattr(self._local, "session"):
            self._local.session = requests.Session()
        session: requests.Session = self._local.session
        return session
