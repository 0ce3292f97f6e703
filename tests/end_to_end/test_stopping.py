"""Starting and stopping: a signal counts from the first moment, and SIGTERM ends everything in time."""

import contextlib
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

from maintd import lock
from tests.conftest import environment, until
from tests.tree import MAINTD

from .daemon import ONE

ENDLESS = '[rotate.wide]\npaths = ["LOGS/' + "**/" * 6 + '*.log"]\nmax_size = "1K"\n'
"""To look for its files takes minutes in a chain of some 30 directories: so often can each `**` mean another one."""


def test_sigterm_ends_also_a_long_look_around(daemon):
    """SIGTERM while maintd looks for files in directories without end: it stops in order, at once."""
    one = daemon(ENDLESS)
    one.tree.logs.joinpath(*"abcdefghijklmnopqrstuvwxyzabcdef").mkdir(parents=True)
    one.start()
    until(lambda: one.tree.run("status").returncode == 0, "it is at work")
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 10, "five times what is promised, on a machine that may be busy"
    assert one.events()[-1]["event"] == "daemon.stopped"


def test_a_hangup_while_it_starts_is_a_reload_afterwards(daemon):
    """SIGHUP before the daemon hears signals neither ends it nor is forgotten: it reads its config again."""
    one = daemon(ONE)
    held = lock.take(f"{one.tree.folder}/state")
    try:
        with one.output.open("ab") as output:
            argv = [MAINTD, "-c", one.tree.config, "run"]
            one.process = subprocess.Popen(argv, stdout=output, stderr=subprocess.PIPE, env=environment())
        until(lambda: _has_open(one.process.pid, f"{one.tree.folder}/state/lock"), "it waits for the lock")
        one.hang_up()
    finally:
        os.close(held)
    one.event("config.reloaded")
    assert one.rotates("a/x.log")


def test_work_that_was_ended_with_the_daemon_is_no_success(daemon):
    """`do` through a daemon that is stopped meanwhile ends with 1, since nothing was done, at work or queued.

    One that is queued has said on its terminal for whom it waits.
    """
    waits = "before = ['/bin/sh', '-c', 'touch HERE/begun; exec sleep 60']\n"
    job = '[rotate.{0}]\npaths = ["LOGS/{0}.log"]\ncron = "@yearly"\n'
    again = "mkdir HERE/first || { touch HERE/again; exec sleep 9; }"
    look = f'[check.program.c]\ncommand = ["/bin/sh", "-c", "{again}"]\nevery = "1h"\n'
    one = daemon(job.format("a") + waits + job.format("b") + look).start()
    until((one.tree.folder / "first").exists, "the look at the start")
    log = one.tree.log("a.log")
    do = [MAINTD, "-c", one.tree.config, "do"]
    reader, terminal = pty.openpty()
    with contextlib.ExitStack() as all_of_them:
        at_work = all_of_them.enter_context(subprocess.Popen([*do, "rotate.a"], stdout=subprocess.PIPE))
        until((one.tree.folder / "begun").exists, "the run has begun")
        queued = all_of_them.enter_context(subprocess.Popen([*do, "rotate.b"], stdout=terminal))
        looking = all_of_them.enter_context(subprocess.Popen([*do, "check.program.c"], stdout=subprocess.PIPE))
        assert b"rotate.b waits for rotate.a" in os.read(reader, 1000)
        until((one.tree.folder / "again").exists, "the look has begun")
        assert one.stop(signal.SIGTERM) == 0
        assert [asker.wait(20) for asker in (at_work, queued, looking)] == [1, 1, 1]
        assert b"not begun" in os.read(reader, 1000)
    os.close(reader)
    os.close(terminal)
    assert log.exists()
    assert one.events("log.rotated") == []


def test_without_supervisord_it_stops_and_says_why(daemon):
    """When the process that started it has gone, as supervisord after kill -9, maintd stops in order and tells."""
    starts = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    one = daemon(ONE).start(under=["env", "SUPERVISOR_ENABLED=1", sys.executable, "-c", starts])
    pid = one.events("daemon.started")[0]["pid"]
    assert pid != one.process.pid
    one.end()
    one.process = None
    assert one.event("daemon.stopped")["reason"].startswith("supervisord has gone")
    until(lambda: not Path(f"/proc/{pid}").exists(), "it has ended")
    assert one.events()[-1]["event"] == "daemon.stopped"
    assert not (one.tree.folder / "run/control.sock").exists()


def _has_open(pid: int, path: str) -> bool:
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it was closed meanwhile
            if os.readlink(descriptor) == path:
                return True
    return False
