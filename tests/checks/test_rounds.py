"""Looks that cannot be ended: given up on time, their thread replaced, none of them begun twice."""

import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from queue import SimpleQueue
from typing import ClassVar

import pytest

from maintd import jobs
from maintd.awake import Awake
from maintd.check import Check
from maintd.job import Context
from maintd.lanes import Wanted
from maintd.log import Log
from maintd.readings import Sign, up
from maintd.rounds import Looked, Rounds
from maintd.runner import Runner
from maintd.runs import Run
from maintd.triggers import Due, Scheduled
from tests.conftest import until

NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


class Stuck(Check):
    """Waits for something that does not come, as in a system call on a file system that does not answer."""

    released: ClassVar[threading.Event] = threading.Event()

    @property
    def target(self) -> str:
        return "stuck"

    def look(self, ctx: Context, deadline: float) -> Iterator[Sign]:
        self.released.wait(60)
        yield up("at last")


CHECKS = {
    "check.stuck.a": Stuck.model_validate({"timeout": "100ms"}),
    "check.memory.a": jobs.kind("check.memory").model_validate({}),
}


@pytest.fixture
def rounds() -> Iterator[tuple[Rounds, "SimpleQueue[Looked]"]]:
    """One look at a time, and what came of them."""
    done: SimpleQueue[Looked] = SimpleQueue()
    log = Log(lambda _: None)

    def begin(wanted: Wanted, _: object) -> Run:
        name = wanted.due.job
        return Run(name=name, job=CHECKS[name], ctx=Context(now=NOW, cause=wanted.due.cause, lanes=frozenset()))

    Stuck.released.clear()
    made = Rounds(Runner(log), begin, done.put, Awake(), most=1)
    yield made, done
    Stuck.released.set()
    made.stop()
    log.close()


def wanted(name: str) -> Wanted:
    return Wanted(Due(name, Scheduled(NOW)), frozenset())


def test_a_look_that_cannot_be_ended_is_given_up(rounds):
    """Its thread no longer counts, so that others go on; it is told once, and hangs until it does end, unheard."""
    made, done = rounds
    assert made.add(wanted("check.stuck.a"))
    assert not made.add(wanted("check.stuck.a"))
    assert made.add(wanted("check.memory.a"))
    until(lambda: made.running == {"check.stuck.a"}, "it is being looked")
    (lost,) = until(made.overdue, "it is overdue")
    assert lost[1].name == "check.stuck.a"
    assert done.get(timeout=10).run.name == "check.memory.a"
    assert made.overdue() == []
    assert made.hanging("check.stuck.a") == lost[1]
    assert not made.add(wanted("check.stuck.a"))
    Stuck.released.set()
    until(lambda: made.hanging("check.stuck.a") is None, "it has ended")
    assert made.add(wanted("check.stuck.a"))
    looked = done.get(timeout=10)
    assert (looked.run.name, looked.result.plan[0].reason) == ("check.stuck.a", "at last")
    assert done.empty()
    assert made.alive
