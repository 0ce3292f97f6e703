"""A daemon whose rotation makes a writer let go of its log, and not open the new one."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import until

from .stage import SUPERVISORD

WRITER = """
import os, signal, sys

log, again = open(sys.argv[1], "ab", 0), sys.argv[2] == "reopens"

def told(*_):
    global log
    log.close()
    if again:
        log = open(sys.argv[1], "ab", 0)

signal.signal(signal.SIGHUP, told)
os.write(1, b"ready\\n")
for line in sys.stdin.buffer:
    log.write(line)
"""


class Writer:
    """Appends what it is given to a log; on SIGHUP it closes that, and `reopens` it or does not."""

    def __init__(self, log: Path, mode: str) -> None:
        argv = [sys.executable, "-IS", "-c", WRITER, log, mode]
        self.process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert self.process.stdout
        assert self.process.stdout.readline() == b"ready\n"

    def write(self, line: bytes) -> None:
        assert self.process.stdin
        self.process.stdin.write(line + b"\n")
        self.process.stdin.flush()


@pytest.fixture
def writers() -> Iterator[list[Writer]]:
    started: list[Writer] = []
    yield started
    for writer in started:
        writer.process.kill()
        writer.process.communicate()


def test_a_daemon_tells_of_a_writer_that_has_no_log_any_more(daemon, writers):
    """Of two writers that are told when their logs grow, the one that does not open its new log is named, once."""
    signal = 'signal = {{ name = "HUP", pidfile = "HERE/{0}.pid" }}\n'
    job = '[rotate.{0}]\npaths = ["LOGS/{0}.log"]\nmax_size = "1K"\n' + signal
    made = daemon(job.format("good") + job.format("bad"))
    folder = made.tree.folder
    for name, mode in (("good", "reopens"), ("bad", "closes")):
        writers.append(Writer(made.tree.logs / f"{name}.log", mode))
        (folder / f"{name}.pid").write_text(str(writers[-1].process.pid))
    made.start()
    for writer in writers:
        writer.write(b"x" * 2000)
    made.event("log.compressed", count=2)
    unopened = made.event("log.unopened")
    assert (unopened["target"], unopened["level"]) == (str(made.tree.logs / "bad.log"), "warning")
    assert f"(pid {writers[1].process.pid})" in unopened["program"]
    assert (unopened["job"], made.state_of("rotate.good")) == ("rotate.bad", "idle")
    writers[0].write(b"y" * 2000)
    made.event("log.compressed", count=3)
    until(lambda: made.state_of("rotate.good") == "idle", "the end of its run")
    assert made.stop() == 0
    assert len(made.events("log.unopened")) == 1
    assert made.events("rotate.failed") == []


def test_nothing_is_said_of_supervisord_which_opens_its_logs(stage):
    """Rotation after rotation of what supervisord writes, none of which it leaves unopened, no log is named.

    Nor is that of a program which was stopped after it: that nobody opens it is as it should be.
    """
    made = stage({"api": ["4000"], "web": ["4000"], "halted": ["100"]}, "")
    stop = [str(SUPERVISORD.with_name("supervisorctl")), "-c", f"{made.folder}/supervisord.conf", "stop", "halted"]
    made.write_config(
        '[rotate.services]\npaths = ["LOGS/*.log"]\nexclude = ["LOGS/halted.log"]\nmax_size = "200K"\nkeep = 50\n'
        f'[rotate.halted]\npaths = ["LOGS/halted.log"]\nevery = "1d"\nafter = {json.dumps(stop)}\n'
    )
    made.start()
    until((made.logs / "halted.log").exists, "its log")
    done = made.maintd("do", "rotate.halted")
    assert (done.returncode, made.ctl("status", "halted").split()[1]) == (0, "STOPPED"), done
    made.event("log.compressed", count=7)
    assert made.events("log.unopened") == []
    assert made.event("job.finished", cause="settling", outcome="success")["done"] >= 2
