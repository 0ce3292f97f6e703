"""The daemon watches itself: what is too much ends it, what is long is told once, and a main thread that hangs too."""

import threading
from datetime import UTC, datetime, timedelta
from typing import ClassVar

from maintd import vitals
from maintd.events import Event
from maintd.job import Context, Job
from maintd.lanes import Done, Lanes, Wanted
from maintd.log import Log
from maintd.runner import Runner
from maintd.runs import Run
from maintd.steps import Lane
from maintd.triggers import Due, Scheduled
from maintd.vitals import Pulse, Vitals

from .conftest import until
from .end_to_end.conftest import daemon  # noqa: F401 - a fixture

MUCH = 1 << 40
JOB = '[rotate.a]\npaths = ["LOGS/*.log"]\ncron = "@yearly"\n'


def test_too_much_memory_ends_it_with_1(daemon):  # noqa: F811
    """A maintd with more memory than max_memory says why, and ends, for supervisord to start another, which alerts."""
    one = daemon("")
    told = one.tree.folder / "told"
    (one.tree.folder / "tell").write_text(f'echo "$MAINTD_ALERT_TITLE" >> {told}\n')
    channel = f'[alerts]\n[alerts.channels.a]\ncommand = ["/bin/sh", "{one.tree.folder}/tell"]\n'
    one.tree.write_config(channel + JOB, 'max_memory = "10M"')
    one.start()
    assert one.process is not None
    assert one.process.wait(60) == 1
    one.process.communicate()
    failed = one.event("daemon.failed")
    assert "more than max_memory (10.0 MiB)" in failed["error_msg"]
    assert one.events("daemon.stopped")
    one.process = None
    one.tree.write_config(channel.replace("[alerts]", '[alerts]\ngroup = "0ms"', 1) + JOB)
    one.start()
    one.event("alert.sent")
    assert "daemon.failed" in told.read_text()


def test_an_inbox_that_stays_long_is_told_once_and_one_without_end_is_the_end():
    """30 s with thousands of things waiting are told once; a hundred thousand are given up on; a full start is not."""
    told: list[Event] = []
    one = Vitals(told.append)
    assert one.look(0, vitals.LONG_INBOX, {}, MUCH) == ""
    assert one.look(10, 0, {}, MUCH) == ""
    for second in range(20, 100):
        assert one.look(second, vitals.LONG_INBOX, {}, MUCH) == ""
    assert [event.name for event in told] == ["daemon.strained"]
    assert "waiting in the inbox" in one.look(100, vitals.LONGEST_INBOX, {}, MUCH)


def test_a_run_beyond_its_timeout_is_told_once_and_then_given_up_on():
    """A minute beyond its timeout a run is told to be stuck, ten minutes beyond it maintd ends."""
    told: list[Event] = []
    one = Vitals(told.append)
    for late in (30, 61, 90, 599):
        assert one.look(late, 0, {"backup.a": late}, MUCH) == ""
    assert [(event.name, event.target) for event in told] == [("daemon.strained", "backup.a")]
    assert one.look(601, 0, {"backup.a": 601}, MUCH) == "backup.a is stuck in its lane"
    assert one.look(602, 0, {}, MUCH) == ""


def test_lanes_know_which_runs_are_overdue():
    """A run that does not end by its timeout is named while it goes on, and not before or after."""
    go_on = threading.Event()

    class Stuck(Job):
        """Stands in its plan."""

        kind: ClassVar[str] = "stuck"

        def plan(self, _ctx: Context):
            go_on.wait(20)
            yield from ()

    done: list[Done] = []
    job = Stuck(cron="@daily", timeout=timedelta(milliseconds=50))
    run = Run(name="stuck.a", job=job, ctx=Context(now=datetime.now(UTC), cause=Scheduled(datetime.now(UTC))))
    log = Log(lambda _: None)
    lanes = Lanes(Runner(log), lambda _: run, done.append)
    lanes.start()
    assert lanes.overdue() == {}
    lanes.add(Lane.HEAVY, Wanted(Due("stuck.a", Scheduled(datetime.now(UTC))), frozenset({Lane.HEAVY})))
    until(lambda: lanes.overdue().keys() == {"stuck.a"}, "it is overdue")
    go_on.set()
    until(lambda: done, "it ends")
    assert lanes.overdue() == {}
    assert lanes.stop(5)
    log.close()


def test_a_main_thread_that_does_not_come_round_is_given_up_on():
    """As long as there are beats nothing happens; without them it is given up."""
    given_up = threading.Event()
    pulse = Pulse(lambda _: given_up.set(), 0.3)
    pulse.start()
    for _ in range(10):
        pulse.beat()
        assert not given_up.wait(0.05)
    assert given_up.wait(10)
    until(lambda: not pulse.alive, "its thread ends")
