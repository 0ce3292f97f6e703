"""A limit, or a file system, that cannot be measured holds up no other one, and is told: a read cannot be ended."""

import os
import threading
import time
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any

import pytest

from maintd.ceilings import Ceilings
from maintd.events import Event
from maintd.floors import Floors
from maintd.limits import Ceiling
from maintd.room import Floor, Portion, Room
from maintd.supervisor import Program
from tests.conftest import until

SOON = {"every": 0.05, "step": 1.0, "grace": 0.0, "count": 1, "of": 1}


@pytest.fixture
def ceilings() -> Iterator[tuple[Ceilings, threading.Event, "SimpleQueue[tuple[str, Event]]"]]:
    """Limits of this process; who measures `limit.stuck` waits at first until it is let go, and then knows nothing."""
    told: SimpleQueue[tuple[str, Event]] = SimpleQueue()
    let_go = threading.Event()
    asked: list[int] = []

    def known() -> list[Program] | None:
        asked.append(1)
        if len(asked) == 1:
            let_go.wait(60)
            return None
        return [Program("here:here", "RUNNING", os.getpid())]

    made = Ceilings(
        known,
        lambda _: None,
        lambda event, job: told.put((job, event)),
        lambda: False,
        clock=time.monotonic,
        longest=0.2,
    )
    made.set("limit.stuck", _ceiling(1 << 50))
    until(lambda: asked, "it is being measured")
    yield made, let_go, told
    let_go.set()


def _ceiling(memory: int) -> Ceiling:
    given: dict[str, Any] = {"program": "here", "memory": memory, "files": None, "cpu": None}
    return Ceiling(**given, **SOON)


def test_measuring_that_hangs_is_told_once_and_holds_up_nothing(ceilings):
    """The other limit is measured, and its program over it; the one that hangs is told, and that it ended too.

    A reload that changes the limit meanwhile changes nothing of that.
    """
    made, let_go, told = ceilings
    made.set("limit.other", _ceiling(1))
    seen: list[tuple[str, str]] = []

    def hears(job: str, name: str) -> bool:
        made.tick()
        while not told.empty():
            heard_job, event = told.get()
            seen.append((heard_job, event.name))
        return (job, name) in seen

    until(lambda: hears("limit.other", "limit.exceeded"), "the other limit")
    until(lambda: hears("limit.stuck", "limit.failed"), "that it hangs")
    made.set("limit.stuck", _ceiling(1 << 49))
    let_go.set()
    until(lambda: hears("limit.stuck", "limit.ok"), "that it goes on")
    assert seen.count(("limit.stuck", "limit.failed")) == 1
    assert made.alive


def test_a_file_system_that_hangs_is_told_once_and_holds_up_nothing(monkeypatch, tmp_path):
    """While one file system does not answer the floor of another is watched; that it answers again ends the alert."""
    let_go = threading.Event()

    def hanging(path: str) -> Room:
        if path.endswith("/dead"):
            let_go.wait(60)
        return Room(1000, 10, 1000, 1000)

    monkeypatch.setattr(Room, "at", hanging)  # no test can make a file system hang
    told: list[tuple[str, str]] = []
    floors = Floors(lambda event, job: told.append((job, event.name)), lambda *_: None, time.monotonic, 0.2)
    for job, path, free in (("guard.dead", "dead", "1"), ("guard.full", "full", "900")):
        (tmp_path / path).mkdir()
        floors.set(job, Floor(str(tmp_path / path), Portion.parse(free), None, None))
    due: list[str] = []

    def looks() -> list[tuple[str, str]]:
        due.extend(one.job for one in floors.look())
        return told

    until(lambda: ("guard.dead", "storage.failed") in looks() and ("guard.full", "storage.low") in told, "both")
    assert due == ["guard.full"]
    for _ in range(5):
        looks()
    assert told.count(("guard.dead", "storage.failed")) == 1
    let_go.set()
    until(lambda: ("guard.dead", "storage.ok") in looks(), "it answers")
