"""Fetching `ping` URLs, of jobs and of maintd, so that a monitor elsewhere notices when runs stay away."""

import http.client
import math
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from maintd.child import Worker
from maintd.errors import MaintdError, trouble
from maintd.events import Event, Failure
from maintd.job import Job
from maintd.owed import Owed, Owing
from maintd.runs import Result, Run
from maintd.steps import Outcome
from maintd.triggers import Scheduled
from maintd.values import dataclass

DEADLINE = 10.0
_MOST = 4
_AT_ONCE = 4
"""So many servers are asked at a time for jobs, each by a child of about 20 MB."""
_PARTLY = 5
"""The exit code of `maintd do` for a run that did some of its work."""


@dataclass(frozen=True)
class Begun:
    """A run has begun whose start and end are told, for the daemon's inbox."""

    run: str
    job: str


@dataclass(frozen=True)
class Pinged:
    """The end of a run was told, or is not to be told any more, for the daemon's inbox."""

    run: str


@dataclass(frozen=True, kw_only=True)
class PingFailed(Failure):
    """A ping URL could not be fetched; the job itself is not concerned."""

    name: ClassVar[str] = "ping.failed"
    level: ClassVar[str] = "warning"


class Pings:
    """Fetches URLs in children, each with a hard deadline; `emit` gets what went wrong, and the job.

    What is for one server goes one after the other, so that one that hangs holds up no other; what maintd tells of
    itself waits for no job's. A URL that already waits is not fetched twice, and only the last few of a job wait. What
    is still to be told of runs is in `owed`, and outlives the daemon; `put` takes to its inbox what changes that.
    """

    def __init__(self, owed: Owed, emit: Callable[[Event, str], None], put: Callable[[Begun | Pinged], None]) -> None:
        self._owed, self._emit, self._put = owed, emit, put
        self._told = -math.inf
        self._begun: set[str] = set()
        self._waiting: dict[tuple[str, str], str] = {}
        self._current: dict[str, str] = {}
        self._changed = threading.Condition()
        self._has_failed = False

    @property
    def alive(self) -> bool:
        """Whether no thread has died of an error of maintd's own."""
        return not self._has_failed

    def resume(self, jobs: Mapping[str, Job]) -> None:
        """Tells the ends of runs that an earlier maintd could not tell; what its end has cut off has failed."""
        for owing in list(self._owed.runs.values()):
            job = jobs.get(owing.job)
            if job is None or not job.ping or (owing.code is None and not job.ping_start):
                self._owed.settle(owing.run)
            else:
                self._send_end(job, replace(owing, code=1 if owing.code is None else owing.code))

    def hear(self, heard: Begun | Pinged) -> None:
        if isinstance(heard, Begun):
            self._owed.note(Owing(heard.run, heard.job))
        else:
            self._owed.settle(heard.run)

    def finish(self, end: float) -> None:
        """Waits until all is told that is to be told of runs, at most until then (monotonic)."""
        with self._changed:
            self._changed.wait_for(
                lambda: not any((*self._current.values(), *self._waiting.values())), max(end - time.monotonic(), 0)
            )

    def send(self, job: str, url: str, run: str = "") -> None:
        """Has a job's URL fetched, after all that it has told before: what it tells last is how its last run went.

        With `run` that is the end of that run.
        """
        with self._changed:
            own = [key for key in self._waiting if key[0] == job]
            if own[-1:] == [(job, url)]:  # it keeps its place, or what is told often would never come to its turn
                self._settle(self._waiting[job, url])
                self._waiting[job, url] = run
                return
            for key in {*own[: -_MOST + 1], (job, url)}:
                self._settle(self._waiting.pop(key, ""))
            self._waiting[job, url] = run
            self._begin()

    def _begin(self) -> None:
        """Has fetched what waits and whose turn has come; called with the lock held."""
        for job, url in list(self._waiting):
            queue = _queue(job, url)
            is_full = len(self._current.keys() - {""}) >= _AT_ONCE
            if queue not in self._current and not (queue and is_full):
                self._current[queue] = self._waiting.pop((job, url))
                threading.Thread(target=self._work, args=[job, url], name="ping", daemon=True).start()

    def _settle(self, run: str) -> None:
        if run:
            self._put(Pinged(run))

    def started(self, run: Run) -> None:
        """A run begins, which is told if its job wants that and the schedule started it. For any thread."""
        job = run.job
        if job.ping and job.ping_start and job.lanes and isinstance(run.ctx.cause, Scheduled):
            self._begun.add(run.id)
            self._put(Begun(run.id, run.name))
            self.send(run.name, starting(job.ping, run.id))

    def is_awaited(self, run: Run) -> bool:
        """Whether it was told that this run began, so that its end is to be told as well; asked once, when it ended."""
        was_told = run.id in self._begun
        self._begun.discard(run.id)
        return was_told

    def ended(self, run: Run, result: Result) -> None:
        """A run has ended, well or not. One that was broken off is begun anew, and is told only if its start was."""
        if not run.job.ping or (result.aborted and not result.failed and not run.job.ping_start):
            return
        is_bad = result.aborted or result.outcome is Outcome.FAILURE
        self._send_end(run.job, Owing(run.id, run.name, (_PARTLY if result.done else 1) if is_bad else 0))

    def _send_end(self, job: Job, owing: Owing) -> None:
        assert job.ping is not None
        self._owed.note(owing)
        if job.ping_start:
            url = ending(job.ping, owing.run, owing.code or 0)
        else:
            url = failing(job.ping) if owing.code else job.ping
        self.send(owing.job, url, owing.run)

    def tell_of_maintd(self, url: str | None, every: timedelta) -> None:
        """Maintd is at work: called again and again by its main thread, which is what is told by it."""
        now = time.monotonic()
        if url and now - self._told >= every.total_seconds():
            self._told = now
            self.send("", url)

    def _work(self, job: str, url: str) -> None:
        try:
            with Worker() as worker:
                worker.call("maintd.ping:fetch", {"url": url}, deadline=time.monotonic() + DEADLINE)
        except (OSError, MaintdError) as error:
            self._emit(PingFailed.from_trouble(server(url), "fetch the ping URL", trouble(error)), job)
        except BaseException:
            self._has_failed = True
            raise
        with self._changed:
            self._settle(self._current.pop(_queue(job, url)))
            self._begin()
            self._changed.notify_all()


def _queue(job: str, url: str) -> str:
    """What goes one after the other: what is for a server, and by itself what maintd tells of itself."""
    return server(url) if job else ""


def fetch(_progress: Callable[[int], None], *, url: str) -> dict[str, Any]:
    """Runs in the child. Raises OSError if the server cannot be reached or answers with an error."""
    try:
        with urllib.request.urlopen(url, timeout=DEADLINE) as answer:  # noqa: S310 - http(s) only, by its pattern
            return {"status": answer.status}
    except urllib.error.HTTPError as error:
        raise MaintdError(f"the server answers {error.code} {error.reason}") from error
    except (ValueError, http.client.HTTPException) as error:
        raise MaintdError(f"it is no usable URL ({type(error).__name__})", hint="correct ping in the job") from error


def server(url: str) -> str:
    """As much of a URL as may be said: its path and its query are often a secret."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{re.split('[/?#]', rest)[0].rpartition('@')[2]}"


def failing(url: str) -> str:
    """The URL that tells of a failure: /fail at the end of the path, before any query. What is no URL stays so."""
    return _extended(url, "fail", "")


def starting(url: str, run: str) -> str:
    """The URL that tells of the start of a run, as Healthchecks takes it: /start, and the run as `rid`, a UUID."""
    return _extended(url, "start", run)


def ending(url: str, run: str, code: int) -> str:
    """The URL that tells how that run has ended: the exit code of `maintd do` at the end of the path."""
    return _extended(url, str(code), run)


def _extended(url: str, last: str, run: str) -> str:
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return url
    rid = f"rid={run}-0000-4000-8000-000000000000" if run else ""
    query = "&".join(part for part in (parts.query, rid) if part)
    return urllib.parse.urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/{last}", query=query))
