"""Fetching a job's `ping` URL after each run, so that a monitor elsewhere notices when runs stay away."""

import http.client
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, ClassVar

from maintd.child import Worker
from maintd.errors import MaintdError, trouble
from maintd.events import Event, Failure

DEADLINE = 10.0


@dataclass(frozen=True, kw_only=True)
class PingFailed(Failure):
    """A ping URL could not be fetched; the job itself is not concerned."""

    name: ClassVar[str] = "ping.failed"
    level: ClassVar[str] = "warning"


class Pings:
    """Fetches URLs one after the other in a child, each with a hard deadline; `emit` gets what went wrong."""

    def __init__(self, emit: Callable[[Event], None]) -> None:
        self._emit = emit
        self._queue: SimpleQueue[str] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def send(self, url: str) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="ping", daemon=True)
            self._thread.start()
        self._queue.put(url)

    def _work(self) -> None:
        while True:
            url = self._queue.get()
            try:
                with Worker() as worker:
                    worker.call("maintd.ping:fetch", {"url": url}, deadline=time.monotonic() + DEADLINE)
            except (OSError, MaintdError) as error:
                found = trouble(error)
                self._emit(PingFailed.from_trouble(url, "fetch the ping URL", found))


def fetch(_progress: Callable[[int], None], *, url: str) -> dict[str, Any]:
    """Runs in the child. Raises OSError if the server cannot be reached or answers with an error."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:  # noqa: S310 - http(s) only, by its pattern
            return {"status": answer.status}
    except urllib.error.HTTPError as error:
        raise MaintdError(f"the server answers {error.code} {error.reason}") from error
    except (ValueError, http.client.HTTPException) as error:
        raise MaintdError(f"{url} is no usable URL: {error}", hint="correct ping in the job") from error


def failing(url: str) -> str:
    """The URL that tells of a failure: /fail at the end of the path, before any query."""
    parts = urllib.parse.urlsplit(url)
    return urllib.parse.urlunsplit(parts._replace(path=parts.path.rstrip("/") + "/fail"))
