"""The daemon watches itself: what is too much ends it, what is long is told once, and a main thread that hangs too."""

import resource
import signal
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from subprocess import PIPE
from typing import ClassVar

from maintd import vitals
from maintd.awake import Awake
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


def test_without_a_descriptor_memory_is_not_measured_and_nothing_ends():
    """Where nothing more can be opened maintd goes on, and says nothing of its memory."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, before[1]))
    try:
        assert Vitals(lambda _: None).look(10, 0, {}, 1) == ""
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


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


def test_a_thread_that_does_not_come_round_is_told_once():
    """A minute in which the watch of the logs does not come round is told, once until it does; maintd goes on."""
    told: list[Event] = []
    one = Vitals(told.append)
    for second in range(200):
        one.look_at_threads(second, {"watch": 1 + (second > 150), "spending": second})
    assert [(event.name, event.target) for event in told] == [("daemon.strained", "watch")]
    assert "has not come round for 61 s" in told[0].msg
    for second in range(200, 300):
        one.look_at_threads(second, {"watch": 2, "spending": second})
    assert [event.target for event in told] == ["watch", "watch"]


def test_checks_that_wait_for_others_are_told_once():
    """Half a minute without a place for some check is told, once until all have one; a moment without is not."""
    told: list[Event] = []
    one = Vitals(told.append)
    for second in range(200):
        short = {"check.tcp.a"} if second % 10 else set()
        one.look_at_places(second, {"one of 64 places": short, "one of 16 places with a child": {"check.sqlite.a"}})
    assert [(event.name, event.target) for event in told] == [("daemon.strained", "checks")]
    assert told[0].msg.startswith("1 check late")
    assert told[0].msg.endswith("one of 16 places with a child")
    for second in range(200, 300):
        one.look_at_places(second, {"one of 16 places with a child": {"check.sqlite.a"} if second > 210 else set()})
    assert len(told) == 2


GO_ON = threading.Event()


class Stuck(Job):
    """Stands in its plan."""

    kind: ClassVar[str] = "stuck"

    def plan(self, _ctx: Context):
        GO_ON.wait(20)
        yield from ()


def test_a_run_without_a_timeout_that_does_nothing_is_told():
    """Six hours in which a run has done no step, and none of one, are told once, until it goes on; maintd does too."""
    GO_ON.clear()
    told: list[Event] = []
    done: list[Done] = []
    passed = [0.0]
    cause = Scheduled(datetime.now(UTC))
    run = Run(name="stuck.a", job=Stuck(cron="@daily"), ctx=Context(now=datetime.now(UTC), cause=cause))
    log = Log(lambda _: None)
    lanes = Lanes(Runner(log), lambda _: run, done.append, lambda: passed[0])
    lanes.start()
    lanes.add(Lane.HEAVY, Wanted(Due("stuck.a", cause), frozenset({Lane.HEAVY})))
    until(lambda: run.begun.is_set() and lanes.quiet() == {"stuck.a": 0}, "it is at work")
    one = Vitals(told.append)
    for seconds in (vitals.QUIET, vitals.QUIET + 1, vitals.QUIET + 2):
        passed[0] = seconds
        one.look_at_runs(lanes.quiet())
    assert [(event.name, event.target) for event in told] == [("daemon.strained", "stuck.a")]
    assert lanes.overdue() == {}
    run.stirs.set()
    one.look_at_runs(lanes.quiet())
    passed[0] += vitals.QUIET
    one.look_at_runs(lanes.quiet())
    assert len(told) == 1
    passed[0] += 1
    one.look_at_runs(lanes.quiet())
    assert len(told) == 2
    GO_ON.set()
    until(lambda: done, "it ends")
    assert lanes.quiet() == {}
    assert lanes.stop(5)
    log.close()


def test_lanes_know_which_runs_are_overdue():
    """A run that does not end by its timeout is named while it goes on, and not before or after."""
    GO_ON.clear()
    done: list[Done] = []
    job = Stuck(cron="@daily", timeout=timedelta(milliseconds=50))
    run = Run(name="stuck.a", job=job, ctx=Context(now=datetime.now(UTC), cause=Scheduled(datetime.now(UTC))))
    log = Log(lambda _: None)
    lanes = Lanes(Runner(log), lambda _: run, done.append)
    lanes.start()
    assert lanes.overdue() == {}
    lanes.add(Lane.HEAVY, Wanted(Due("stuck.a", Scheduled(datetime.now(UTC))), frozenset({Lane.HEAVY})))
    until(lambda: lanes.overdue().keys() == {"stuck.a"}, "it is overdue")
    GO_ON.set()
    until(lambda: done, "it ends")
    assert lanes.overdue() == {}
    assert lanes.stop(5)
    log.close()


STOPPED = """
import sys, time
from maintd.awake import Awake
from maintd.lanes import Lanes
from maintd.vitals import Pulse
awake = Awake()
pulse = Pulse(awake, lambda seconds: print("given up", flush=True), 5)
pulse.start()
begun = awake.now()
print("beats", flush=True)
for line in sys.stdin:
    pulse.beat()
    print(round(awake.now() - begun), flush=True)
"""


def test_a_process_that_was_stopped_does_not_hang():
    """SIGSTOP of a whole process for longer than its main thread may hang: it goes on, and the time does not count."""
    with subprocess.Popen([sys.executable, "-c", STOPPED], stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdout.readline() == "beats\n"
        process.send_signal(signal.SIGSTOP)
        time.sleep(7)
        process.send_signal(signal.SIGCONT)
        time.sleep(0.5)  # the thread of the pulse would give up at once
        said, _ = process.communicate("\n", timeout=20)
    assert said.strip() in ("1", "2", "3", "4")


def test_a_maintd_that_was_stopped_tells_nothing_bad(daemon, tmp_path):  # noqa: F811
    """SIGSTOP while a look and a run with a timeout are under way: after SIGCONT neither hangs, and both go on."""
    gate, log = tmp_path / "gate", "LOGS/x.log"
    look = f'[check.program.a]\ncommand = ["/bin/sh", "-c", "echo >> {gate}; sleep 1.5"]\nevery = "1s"\n'
    one = daemon(
        f'{look}timeout = "3s"\nfail_after = 1\n[rotate.a]\npaths = ["{log}"]\nmax_size = "1K"\n'
        f'timeout = "1h"\nbefore = ["/bin/sh", "-c", "touch HERE/runs; sleep 2"]\n'
    )
    one.start()
    one.tree.log("x.log", b"x" * 2000)
    until((one.tree.folder / "runs").exists, "a run has begun")
    until(gate.exists, "a look has begun")
    looks = gate.stat().st_size
    until(lambda: gate.stat().st_size > looks, "a look has begun")
    one.process.send_signal(signal.SIGSTOP)
    time.sleep(6)
    one.process.send_signal(signal.SIGCONT)
    one.event("log.rotated")
    looks = gate.stat().st_size
    until(lambda: gate.stat().st_size > looks + 1, "two more looks")
    assert [event["event"] for event in one.events() if event["level"] not in ("info", "debug")] == []


def test_a_main_thread_that_does_not_come_round_is_given_up_on():
    """As long as there are beats nothing happens; without them it is given up."""
    given_up = threading.Event()
    pulse = Pulse(Awake(), lambda _: given_up.set(), 0.3)
    pulse.start()
    for _ in range(10):
        pulse.beat()
        assert not given_up.wait(0.05)
    assert given_up.wait(10)
    until(lambda: not pulse.alive, "its thread ends")
