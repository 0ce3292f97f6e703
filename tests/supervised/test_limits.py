"""`limit` against a real supervisord: by PSS, N of M, step by step, and never leaving a program stopped."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintd import intents, restarts
from maintd.actions.hands import Hands
from maintd.actions.programs import RestartProgram
from maintd.errors import Refused
from maintd.supervisor import Supervisor
from tests.conftest import until

FAST = 'sample = "1s"\nover = "2 of 3"\ngrace = "1s"\nstep = "2s"\npause = "1s"\n'
CHECK = '[check.process.one]\nprogram = "one"\n'


def test_shared_memory_counts_once_and_a_leak_is_restarted(daemon, supervisord):
    """A prefork server whose RSS is far above its limit is left alone; one that really takes too much is restarted."""
    one = daemon(
        f'[limit.prefork]\nprogram = "prefork"\nmemory = "500M"\n{FAST}'
        f'[limit.leak]\nprogram = "leak"\nmemory = "20M"\nseverity = "warning"\n{FAST}max_restarts = 1\n'
    )
    real = supervisord(prefork=("shared 200 4", ""), leak=("leak 60", ""))
    one.start()
    exceeded = one.event("limit.exceeded", job="limit.leak")
    assert (exceeded["level"], exceeded["target"]) == ("warning", "leak:leak")
    assert "of 20.0 MiB of memory in 2 of" in exceeded["reason"]
    restarted = one.event("program.restarted", job="limit.leak")
    assert restarted["pid"] == real.pid("leak") != restarted["was_pid"]
    assert restarted["reason"] == "more than 20.0 MiB of memory in 2 of 3 samples"
    spent = one.event("limit.spent", job="limit.leak")
    assert "restarted 1 time within 1h" in spent["reason"]
    assert [event for event in one.events() if event.get("job") == "limit.prefork"] == []
    assert not list((one.tree.folder / "state").rglob("*.restart"))
    assert real.state("leak") == "RUNNING"


def test_open_files_and_cpu_have_their_limits_too(daemon, supervisord):
    """A program with too many open files, or that takes too much of a core, is over its limit, and is told to be."""
    one = daemon(
        f'[limit.files]\nprogram = "one"\nfiles = 40\nladder = []\n{FAST}'
        f'[limit.cpu]\nprogram = "one"\ncpu = "2%"\nladder = []\n{FAST}'
    )
    supervisord(one=("busy 50", ""))
    one.start()
    assert "of 40 open files in 2 of" in one.event("limit.exceeded", job="limit.files")["reason"]
    assert "of 2% of a core in 2 of" in one.event("limit.exceeded", job="limit.cpu")["reason"]


def test_a_signal_comes_before_a_restart(daemon, supervisord):
    """With a ladder of signal and restart, a program that heeds the signal is not restarted, and that is told."""
    one = daemon(
        f'[limit.one]\nprogram = "one"\nmemory = "30M"\nladder = ["signal", "restart"]\nsignal = "USR1"\n{FAST}'
    )
    heard = one.tree.folder / "heard"
    real = supervisord(one=(f"heeding 50 {heard}", ""))
    one.start()
    told = one.event("program.signalled", job="limit.one")
    assert (told["signal"], told["pid"]) == ("USR1", real.pid("one"))
    one.event("limit.ok", job="limit.one")
    assert heard.read_bytes() == b"heard\n"
    assert one.events("program.restarted") == []


def test_what_it_has_started_and_a_stop_does_not_reach_is_named(daemon, supervisord):
    """Processes that outlive a restart are told, and `maintd check` warns of a program without stopasgroup."""
    one = daemon(f'[limit.one]\nprogram = "one"\nmemory = "20M"\n{FAST}')
    supervisord(one=("orphaning", "stopasgroup=false"))
    checked = one.tree.run("check")
    assert "stopasgroup is off for one:one" in checked.stderr
    asked = one.tree.plan("limit.one")
    assert "of 20.0 MiB of memory; the daemon decides by 2 of 3 samples" in asked[0]["reason"]
    one.start()
    left = one.event("program.orphaned", job="limit.one")
    os.kill(int(left["pids"]), signal.SIGKILL)


def test_a_killed_maintd_leaves_no_program_stopped(daemon, supervisord):
    """kill -9 between stop and start: the next maintd starts it, and counts that as one of the restarts."""
    one = daemon(f'[limit.one]\nprogram = "one"\nmemory = "20M"\n{FAST}max_restarts = 1\n')
    real = supervisord(one=("hold 40", ""))
    one.start()
    until(lambda: list((one.tree.folder / "state").rglob("*.restart")), "it begins to restart", 30)
    one.end()
    if real.state("one") == "RUNNING":  # the kill came before the stop: what is written down holds all the same
        real.ctl("stop", "one")
    one.start()
    started = one.event("program.started", job="limit.one")
    assert started["reason"] == "its restart was cut off"
    assert real.state("one") == "RUNNING"
    until(lambda: not list((one.tree.folder / "state").rglob("*.restart")), "it is forgotten")
    assert "restarted 1 time within 1h" in one.event("limit.spent", job="limit.one")["reason"]
    assert one.events("program.restarted") == []


def test_a_limit_that_observes_restarts_nothing(daemon, supervisord):
    """Under observe it is told what would be done, once, and nothing is done; of revive as well."""
    revive = '[revive.{0}]\nprograms = ["{0}"]\npause = "500ms"\n'
    one = daemon(
        f'[limit.one]\nprogram = "one"\nmemory = "20M"\nobserve = true\n{FAST}'
        f"{revive.format('a')}observe = true\n{revive.format('b')}"
    )
    fallen = ("unless /nowhere", "startsecs=1\nstartretries=0")
    real = supervisord(one=("hold 40", ""), a=fallen, b=fallen)
    one.start()
    pid = until(lambda: real.pid("one"), "it runs")
    planned = one.event("action.planned", job="limit.one")
    assert (planned["verb"], planned["target"]) == ("restart", "one:one")
    one.event("limit.exceeded", job="limit.one")
    one.event("program.failed", count=4, job="revive.b")
    assert real.pid("one") == pid
    for job in ("limit.one", "revive.a"):
        told = [event["event"] for event in one.events() if event.get("job") == job]
        assert (told.count("action.planned"), told.count("job.finished")) == (1, 1)


class Breaking:
    """Stands before supervisord's socket, and for a while after a stop was asked for breaks every connection."""

    def __init__(self, path: Path, real: Path, seconds: float) -> None:
        self.real, self.seconds, self.broken_until, self.broken = real, seconds, 0.0, 0
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self.listener.accept()
                threading.Thread(target=self._pass, args=[taken], daemon=True).start()

    def _pass(self, taken: socket.socket) -> None:
        with taken, contextlib.suppress(OSError), socket.socket(socket.AF_UNIX) as real:
            if time.monotonic() < self.broken_until:
                self.broken += 1
                return
            taken.settimeout(0.2)
            data = b""
            while b"</methodCall>" not in data:
                data += taken.recv(65536)
            real.connect(str(self.real))
            real.sendall(data)
            if b"supervisor.stopProcess" in data and not self.broken_until:
                self.broken_until = time.monotonic() + self.seconds
                real.recv(1)
                return
            while chunk := real.recv(65536):
                taken.sendall(chunk)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


def test_a_connection_that_breaks_between_stop_and_start(daemon, supervisord):
    """supervisord cannot be reached for a while after the stop: the program is RUNNING in the end all the same."""
    one = daemon(f'[limit.one]\nprogram = "one"\nmemory = "20M"\n{FAST}max_restarts = 1\n')
    real = supervisord(one=("hold 40", ""))
    breaking = Breaking(one.tree.folder / "broken.sock", real.socket, 3)
    text = one.tree.config.read_text()
    one.tree.config.write_text(text.replace("supervisor.sock", "broken.sock"))
    one.start()
    one.event("program.restarted", job="limit.one")
    assert breaking.broken > 0
    assert real.state("one") == "RUNNING"
    one.stop()
    breaking.close()


def test_a_limit_that_cannot_be_is_refused(daemon):
    """A limit of nothing, and a step without its signal, are errors of the config at their place."""
    one = daemon('[limit.a]\nprogram = "a"\n[limit.b]\nprogram = "b"\nfiles = 9\nladder = ["signal"]\n')
    found = one.tree.run("check")
    assert found.returncode != 0
    assert "nothing is limited" in found.stderr
    assert 'the step "signal" of ladder needs the option signal' in found.stderr


def test_a_signal_that_is_not_handled_is_followed_by_the_next_step(daemon, supervisord):
    """A program without a handler gets no signal, which is told with what to do; after `step` it is restarted."""
    one = daemon(
        f'[limit.one]\nprogram = "one"\nmemory = "20M"\nladder = ["signal", "restart"]\nsignal = "USR1"\n{FAST}'
    )
    supervisord(one=("hold 40", ""))
    one.start()
    failed = one.event("program.failed", job="limit.one")
    assert "has no handler for SIGUSR1" in failed["error_msg"]
    assert failed["advice"] == "choose a signal that the program handles, or only restart it"
    assert one.event("program.restarted", job="limit.one")["was_pid"]


def test_a_limit_stays_exceeded_until_it_is_not(daemon, supervisord):
    """A supervisord that is silent for a while ends nothing; a limit that is raised, or taken out, ends it."""
    limited = '[limit.one]\nprogram = "one"\nmemory = "{0}M"\nladder = []\n' + FAST
    one = daemon(limited.format(20))
    real = supervisord(one=("hold 40", ""))
    assert real.process
    one.start()
    one.event("limit.exceeded")
    real.process.send_signal(signal.SIGSTOP)
    one.event("supervisor.failed")
    real.process.send_signal(signal.SIGCONT)
    one.event("supervisor.recovered")
    one.tree.write_config(limited.format(900))
    assert one.tree.run("reload").returncode == 0
    assert "of 900.0 MiB of memory" in one.event("limit.ok")["reason"]
    assert len(one.events("limit.exceeded")) == 1
    one.tree.write_config(limited.format(20))
    assert one.tree.run("reload").returncode == 0
    one.event("limit.exceeded", count=2)
    one.tree.write_config(CHECK)
    assert one.tree.run("reload", "--force").returncode == 0
    assert one.event("limit.ok", count=2)["reason"] == "the limit is gone"


def test_a_cut_off_restart_of_what_supervisord_does_not_know_is_forgotten(daemon, supervisord):
    """A program that was taken out of supervisord cannot be started: that is told once, and not tried for ever."""
    one = daemon(f'[limit.one]\nprogram = "one"\nmemory = "900M"\n{FAST}')
    supervisord(one=("idle", ""))
    notes = one.tree.folder / "state" / intents.DIRECTORY
    notes.parent.mkdir(mode=0o700, exist_ok=True)
    restarts.note(str(notes), restarts.Begun("gone:gone", "limit.one", time.time()))
    one.start()
    assert "no program gone:gone" in one.event("program.failed", job="limit.one")["error_msg"]
    until(lambda: not list(notes.glob("*.restart")), "it is forgotten")


def test_maintd_never_stops_what_it_runs_under():
    """A program whose processes maintd is among, started by a shell for one, is not restarted by it."""
    action = RestartProgram(
        target="shell:shell",
        reason="",
        supervisor=Supervisor("unix:///nonexistent"),
        pid=os.getppid(),
        folder="/nonexistent",
        job="limit.shell",
        now=datetime.now(UTC),
        remembered="",
    )
    with pytest.raises(Refused, match="maintd itself"):
        list(action.apply(Hands()))


def test_nothing_is_restarted_or_started_outside_the_window(daemon, supervisord):
    """Outside their window a limit tells and restarts nothing, and revive starts nothing; once it opens, both do."""
    now = datetime.now(UTC)
    shut = f"{now + timedelta(hours=2):%H:%M}-{now + timedelta(hours=3):%H:%M}"
    limit = f'[limit.one]\nprogram = "one"\nmemory = "20M"\n{FAST}'
    jobs = f'{limit}window = "{shut}"\n[revive.held]\nprograms = ["held"]\npause = "100ms"\nwindow = "{shut}"\n'
    one = daemon(f'{jobs}[revive.free]\nprograms = ["free"]\npause = "500ms"\n')
    fallen = ("unless /nowhere", "startsecs=1\nstartretries=0")
    supervisord(one=("hold 40", ""), held=fallen, free=fallen)
    checked = json.loads(one.tree.run("check", "--json").stdout)
    when = [job["when"].partition(", within ")[0] for job in checked["jobs"]]
    assert when == ["as soon as its program takes more", *["as soon as one of its programs is FATAL"] * 2]
    one.start()
    one.event("limit.exceeded", target="one:one")
    one.event("program.failed", count=3, target="free:free")
    acted = ("program.started", "program.failed", "program.restarted")
    assert {found["target"] for found in one.events() if found["event"] in acted} == {"free:free"}
    one.tree.config.write_text(one.tree.config.read_text().replace(f'window = "{shut}"\n', ""))
    one.hang_up()
    one.event("program.restarted", target="one:one")
    one.event("program.failed", target="held:held")


def test_a_guard_has_no_window(daemon):
    """A guard that could act at night alone is refused, with the reason."""
    one = daemon('[guard.disk]\ndirectory = "HERE"\nmin_free = "1K"\nwindow = "02:00-05:00"\n')
    found = one.tree.run("check")
    assert found.returncode != 0
    assert "a guard has no window" in found.stderr
