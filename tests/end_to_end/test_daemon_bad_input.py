"""What may go wrong around a daemon at work: it says so once, keeps to what it knows, and goes on."""

import contextlib
import fcntl
import json
import os
import random
import shutil  # noqa: TID251 - to remove what a test made, and to find a tool
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import environment, snapshot, until
from tests.tree import MAINTD, Tree, content

GROWS = '[rotate.{0}]\npaths = ["LOGS/{0}/*.log"]\nmax_size = "1K"\n'
ONE = GROWS.format("a")
TWO = ONE + GROWS.format("b")
DEADLINE = 20.0


class Daemon:
    """`maintd run` as a process of its own on a tree; its stdout goes to a file unless a test gives another."""

    def __init__(self, folder: Path, jobs: str) -> None:
        self.tree = Tree(folder, jobs)
        self.output = folder / "events"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, stdout: Any = None, under: Sequence[str] = (), **options: Any) -> "Daemon":
        """Starts it, and waits for the new process to say so, or to answer if it cannot be heard."""
        count = len(self.events("daemon.started"))
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [*under, MAINTD, "-c", self.tree.config, "run"],
                stdout=stdout or output,
                stderr=subprocess.PIPE,
                env=environment(),
                **options,
            )
        if stdout is None and not options:
            self.event("daemon.started", count=count + 1)
        else:
            until(lambda: self.tree.run("status").returncode == 0, "it answers", DEADLINE)
        return self

    def stop(self, number: int = signal.SIGTERM) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        _, stderr = self.process.communicate(timeout=10)
        assert b"Traceback" not in stderr, stderr.decode()
        code = self.process.returncode
        self.process = None
        return code

    def end(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.communicate()

    def hang_up(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGHUP)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        if not self.output.exists():
            return []
        whole = self.output.read_bytes().rpartition(b"\n")[0]
        found = [json.loads(line) for line in whole.splitlines()]
        return [event for event in found if name is None or event["event"] == name]

    def event(self, name: str, count: int = 1, **fields: Any) -> dict[str, Any]:
        """Waits for the count-th event of that name with these fields."""

        def matching() -> list[dict[str, Any]]:
            named = self.events(name)
            return [event for event in named if all(event.get(key) == value for key, value in fields.items())]

        try:
            until(lambda: len(matching()) >= count, f"{count} of {name} {fields}", DEADLINE)
        except AssertionError as error:
            raise AssertionError(f"{error}\n" + "\n".join(map(json.dumps, self.events()[-15:]))) from None
        return matching()[count - 1]

    def grow(self, name: str, content: bytes = b"x" * 2000) -> Path:
        """Writes a log that is larger than every max_size here."""
        return self.tree.log(name, content)

    def rotates(self, name: str) -> dict[str, Any]:
        """Lets a log grow, and waits until it was rotated and compressed."""
        count = sum(event["target"] == str(self.tree.logs / name) for event in self.events("log.rotated"))
        log = self.grow(name)
        return self.event("log.rotated", count=count + 1, target=str(log))

    def status(self) -> dict[str, Any]:
        found = self.tree.run("status", "--json")
        return dict(json.loads(found.stdout))

    def state_of(self, job: str) -> str:
        return next(found["state"] for found in self.status()["jobs"] if found["name"] == job)


@pytest.fixture
def daemon() -> Iterator[Callable[[str], Daemon]]:
    """Daemons in a folder whose path is short enough for a socket's."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        made: list[Daemon] = []

        def make(jobs: str) -> Daemon:
            made.append(Daemon(Path(folder).resolve(), jobs))
            return made[-1]

        yield make
        for one in made:
            one.end()


# Two of them, and what a dead one left


def test_a_second_daemon_on_one_state_dir_ends_with_75(daemon):
    """The second daemon says whose pid holds the lock and ends with 75; the first is not disturbed."""
    first = daemon(ONE).start()
    assert first.process
    second = first.tree.run("run")
    assert second.returncode == 75
    assert second.stderr.splitlines()[0] == (
        f"maintd: another maintd (pid {first.process.pid}) works on {first.tree.folder}/state"
    )
    assert "supervisorctl stop" in second.stderr
    assert second.stdout == ""
    assert first.rotates("a/x.log")


def test_what_a_killed_daemon_left_does_not_keep_the_next_from_starting(daemon):
    """A stale socket and a lock file without a holder are taken over, and the new daemon answers."""
    one = daemon(ONE).start()
    one.stop(signal.SIGKILL)
    assert (one.tree.folder / "run/control.sock").is_socket()
    one.start()
    assert one.process
    assert one.status()["pid"] == one.process.pid
    assert one.stop() == 0
    assert not (one.tree.folder / "run/control.sock").exists()


def test_a_socket_path_that_is_something_else_is_one_message(daemon):
    """A file where the control socket should be is not removed: the daemon says so and ends with 1."""
    one = daemon(ONE)
    (one.tree.folder / "run").mkdir()
    (one.tree.folder / "run/control.sock").write_text("precious")
    done = one.tree.run("run")
    assert done.returncode == 1
    assert done.stderr.startswith("maintd: ")
    assert "control.sock" in done.stderr
    assert "Traceback" not in done.stderr
    assert (one.tree.folder / "run/control.sock").read_text() == "precious"


def test_a_socket_that_another_program_answers_is_left_to_it(daemon):
    """A socket on which somebody answers is never taken away: exit code 75 with advice."""
    one = daemon(ONE)
    (one.tree.folder / "run").mkdir()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(one.tree.folder / "run/control.sock"))
        listener.listen()
        done = one.tree.run("run")
    assert done.returncode == 75
    assert "runtime_dir" in done.stderr


# The state


def _damaged(path: Path) -> None:
    path.write_bytes(b"this is no database" * 1000)


def _torn(path: Path) -> None:
    _newer(path, 1)
    path.write_bytes(path.read_bytes()[:4096] + random.Random(1).randbytes(8192))


def _newer(path: Path, version: int = 99) -> None:
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE something (x)")
    database.executemany("INSERT INTO something VALUES (?)", [("x" * 100,)] * 300)
    database.execute(f"PRAGMA user_version = {version}")
    database.commit()
    database.close()


@pytest.mark.parametrize("spoil", [_damaged, _torn, _newer])
def test_a_state_that_cannot_be_used_is_set_aside(daemon, spoil):
    """A state database that is damaged, torn or newer is kept under another name, told, and begun anew."""
    one = daemon(ONE)
    state = one.tree.folder / "state"
    state.mkdir(mode=0o700)
    spoil(state / "state.sqlite")
    before = (state / "state.sqlite").read_bytes()
    one.start()
    reset = one.event("state.reset")
    kept = Path(reset["set_aside_as"])
    assert kept.read_bytes() == before
    assert reset["reason"]
    assert one.rotates("a/x.log")
    assert one.stop() == 0
    one.start()
    assert len(one.events("state.reset")) == 1


def test_without_a_state_the_work_goes_on(daemon):
    """Where the state database should be is something that is no file: it stays, that is said, and logs are rotated."""
    one = daemon(ONE)
    (one.tree.folder / "state").mkdir(mode=0o700)
    (one.tree.folder / "state/state.sqlite").mkdir()
    one.start()
    assert one.rotates("a/x.log")
    assert one.tree.run("pause", "rotate.a").returncode == 0
    until(lambda: one.state_of("rotate.a") == "paused", "the job is paused")
    assert one.stop() == 0
    assert len(one.events("state.failed")) == 1
    assert (one.tree.folder / "state/state.sqlite").is_dir()


# stdout


@pytest.mark.parametrize("stdout", ["closed", "/dev/full"])
def test_a_stdout_that_takes_nothing_stops_no_job(daemon, stdout):
    """With stdout closed or full, logs are rotated and compressed, status counts the drops, and no file is spoilt."""
    one = daemon(ONE)
    if stdout == "closed":
        # what a program opens next would get the number 1, if nobody took care
        one.start(preexec_fn=lambda: os.close(1))
    else:
        with Path(stdout).open("wb") as full:
            one.start(full)
    _is_rotated_unheard(one)
    assert one.status()["events"]["dropped"] >= 4
    assert "dropped because nobody read them" in one.tree.run("status").stdout
    assert one.stop() == 0
    for kept in (one.tree.folder / "state").iterdir():
        assert b'"event"' not in kept.read_bytes(), f"events went into {kept}"


def test_a_pipe_that_nobody_reads_stops_no_job(daemon):
    """With stdout a full pipe, logs are rotated and compressed, status answers, and SIGTERM ends within two seconds."""
    one = daemon(ONE)
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(writer, False)
    with contextlib.suppress(BlockingIOError):
        while os.write(writer, b"x" * 512):
            pass
    os.set_blocking(writer, True)
    one.start(writer)
    _is_rotated_unheard(one)
    assert one.status()["events"]["dropped"] == 0, "a few events find room in the queue"
    begun = time.monotonic()
    assert one.stop() == 0
    assert time.monotonic() - begun < 2
    assert b"event" not in os.read(reader, 1 << 20)
    os.close(reader)
    os.close(writer)


def _is_rotated_unheard(one: Daemon) -> None:
    log = one.grow("a/x.log")
    until(lambda: list(log.parent.glob("x.log.*.zst")), "it is rotated and compressed", DEADLINE)


# Reload


def test_a_broken_config_is_refused_with_every_problem_and_the_old_one_stays(daemon):
    """SIGHUP with a config full of errors: config.rejected, each problem with its place, and the old jobs go on."""
    one = daemon(ONE).start()
    one.tree.write_config('[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "10Q"\nkep = 3\n[rotat.b]\nx = 1\n')
    one.hang_up()
    rejected = one.event("config.rejected")
    assert (rejected["errors"], rejected["level"]) == (3, "error")
    one.event("config.problem", count=3)
    problems = [event["problem"] for event in one.events("config.problem")]
    for line, word in ((9, "10Q"), (10, "kep"), (11, "rotat")):
        assert any(problem.startswith(f"{one.tree.config}:{line}:") and word in problem for problem in problems)
    assert one.rotates("a/x.log")
    assert one.status()["jobs"][0]["name"] == "rotate.a"


def test_a_config_that_vanished_or_cannot_be_parsed_changes_nothing(daemon):
    """Without a file, or with one that ends in mid-word, the old config stays; corrected, it is taken over."""
    one = daemon(ONE).start()
    good = one.tree.config.read_bytes()
    one.tree.config.unlink()
    one.hang_up()
    assert "cannot be read" in one.event("config.problem")["problem"]
    one.tree.config.write_bytes(good[:-5])
    one.hang_up()
    one.event("config.rejected", count=2)
    assert one.rotates("a/x.log")
    one.tree.write_config(TWO)
    one.hang_up()
    assert one.event("config.reloaded")["diff"] == "+1 ~0 \N{MINUS SIGN}0"
    assert one.rotates("b/x.log")
    assert one.rotates("a/x.log")


def test_half_a_config_is_refused_until_it_is_forced(daemon):
    """A config that loses more than half of its jobs may be half-written: refused, until a person insists."""
    one = daemon("".join(GROWS.format(name) for name in "abcd")).start()
    one.tree.write_config(ONE)
    refused = one.tree.run("reload")
    assert refused.returncode == 1
    assert "3 of 4 jobs would be gone" in refused.stderr
    assert "maintd reload --force" in refused.stderr
    assert one.rotates("d/x.log")
    forced = one.tree.run("reload", "--force")
    assert forced.returncode == 0
    assert forced.stdout == "reloaded: +0 ~0 \N{MINUS SIGN}3: removed rotate.b, rotate.c, rotate.d\n"
    assert [job["name"] for job in one.status()["jobs"]] == ["rotate.a"]


# Jobs that shall not run


def test_a_disabled_job_runs_neither_before_nor_after_a_reload(daemon):
    """enabled = false keeps a job in the file and lets it rest, also when it is switched off by a reload."""
    one = daemon(ONE + "enabled = false\n" + GROWS.format("b")).start()
    idle = one.grow("a/x.log")
    assert one.rotates("b/x.log")
    assert one.rotates("b/x.log")
    assert (one.state_of("rotate.a"), idle.stat().st_size) == ("disabled", 2000)
    one.tree.write_config(ONE + GROWS.format("b") + "enabled = false\n")
    assert one.tree.run("reload").returncode == 0
    one.event("log.rotated", target=str(idle))
    idle = one.grow("b/x.log")
    assert one.rotates("a/x.log")
    assert one.rotates("a/x.log")
    assert idle.stat().st_size == 2000


def test_a_job_that_observes_says_what_it_would_do_and_changes_nothing(daemon):
    """Under observe, each action is told as action.planned with its reason, and no file is touched."""
    one = daemon(ONE + "observe = true\nkeep = 1\n")
    one.tree.log("a/x.log.20250101T000000Z")
    one.tree.log("a/x.log.20260101T000000Z.zst")
    log = one.grow("a/x.log")
    before = snapshot(one.tree.logs)
    one.start()
    planned = one.event("action.planned", verb="rotate", target=str(log))
    assert "would rotate it" in planned["msg"]
    assert "more than max_size" in planned["reason"]
    one.event("action.planned", verb="delete")
    one.event("job.finished", outcome="skipped", done=0)
    assert snapshot(one.tree.logs) == before
    assert one.tree.do().event("job.finished")["outcome"] == "skipped"
    assert snapshot(one.tree.logs) == before


def test_a_pause_holds_over_a_restart_and_is_made_up_for(daemon):
    """A paused job is not run for growth, not caught up on at a start, and does what it missed when resumed."""
    one = daemon(ONE + 'cron = "@daily"\n' + GROWS.format("b"))
    late = one.tree.log("a/late.log")
    stamp = datetime.now(UTC) - timedelta(days=2)
    one.tree.log(f"a/late.log.{stamp:%Y%m%dT%H%M%SZ}.zst")
    one.start()
    one.event("log.rotated", target=str(late), count=1)
    assert one.tree.run("pause", "rotate.a").returncode == 0
    one.event("job.paused", job="rotate.a")
    paused = one.grow("a/x.log")
    assert one.rotates("b/x.log")
    assert one.stop() == 0
    one.start()
    assert one.state_of("rotate.a") == "paused"
    assert one.rotates("b/x.log")
    assert one.rotates("b/x.log")
    assert paused.stat().st_size == 2000
    assert one.tree.run("resume", "rotate.a").returncode == 0
    one.event("log.rotated", target=str(paused))


def test_a_pause_is_not_caught_up_on_at_a_start(daemon):
    """A job that is paused when the daemon starts does not make up for what it missed while it was down."""
    one = daemon(ONE + 'cron = "@daily"\n' + GROWS.format("b")).start()
    assert one.tree.run("pause").returncode == 0
    assert one.stop() == 0
    late = one.tree.log("a/late.log")
    one.tree.log(f"a/late.log.{datetime.now(UTC) - timedelta(days=2):%Y%m%dT%H%M%SZ}.zst")
    one.start()
    assert one.status()["paused_all"] is True
    assert one.tree.run("do", "rotate.b").returncode == 0  # whatever was queued before it is done by now
    assert late.stat().st_size
    assert one.tree.run("resume").returncode == 0
    one.event("log.rotated", target=str(late))


def test_a_paused_job_that_left_the_config_may_still_be_resumed(daemon):
    """Resuming a job that a reload has removed meanwhile is no harm to the daemon."""
    one = daemon(TWO + GROWS.format("c")).start()
    assert one.tree.run("pause", "rotate.c").returncode == 0
    one.tree.write_config(TWO)
    assert one.tree.run("reload").returncode == 0
    assert one.tree.run("resume", "rotate.c").returncode == 0
    assert one.event("job.resumed")["job"] == "rotate.c"
    assert one.tree.run("resume", "rotate.c").returncode == 1
    assert one.tree.run("pause", "--for", "1s").returncode == 0
    assert one.rotates("a/x.log")


def test_a_pause_with_an_end_ends_by_itself_and_ends_no_other(daemon):
    """After `pause --for` the jobs go on without a word from anybody; one that was paused by itself stays paused."""
    one = daemon(TWO).start()
    assert one.tree.run("pause", "rotate.b").returncode == 0
    assert one.tree.run("pause", "--for", "1s").returncode == 0
    log = one.grow("a/x.log")
    one.event("job.resumed")
    one.event("log.rotated", target=str(log))
    assert one.state_of("rotate.a") != "paused"
    assert one.state_of("rotate.b") == "paused"


# Catching up, and what comes and goes


def test_what_was_missed_is_caught_up_on_once_at_the_start(daemon):
    """A log whose newest archive is older than its cron's last time is rotated at the start, once; a new one waits."""
    one = daemon('[rotate.a]\npaths = ["LOGS/a/*.log"]\ncron = "@yearly"\n')
    late, new = one.tree.log("a/late.log"), one.tree.log("a/new.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    one.start()
    assert one.event("log.rotated")["target"] == str(late)
    assert one.event("log.rotated")["reason"].startswith("missed at ")
    late.write_bytes(b"more\n")
    assert one.stop() == 0
    one.start()
    assert one.tree.run("do", "--all", "--due").returncode == 0
    assert len(one.events("log.rotated")) == 1
    assert (late.stat().st_size, new.stat().st_size) == (5, 9)


def _window(begins: datetime) -> str:
    return f'window = "{begins:%H:%M}-{begins + timedelta(hours=2):%H:%M}"\n'


def test_catching_up_waits_for_the_window(daemon):
    """What was missed is not done at a start outside of the job's window, but when that opens; status shows when."""
    opens = (datetime.now(UTC) + timedelta(hours=2)).replace(second=0, microsecond=0)
    one = daemon('[rotate.a]\npaths = ["LOGS/a/*.log"]\ncron = "@yearly"\n' + _window(opens) + GROWS.format("b"))
    late = one.tree.log("a/late.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    one.start()
    (job,) = [job for job in one.status()["jobs"] if job["name"] == "rotate.a"]
    assert datetime.fromisoformat(job["next"]) == opens
    for _ in range(2):
        assert one.rotates("b/x.log")  # which would have waited its turn behind it
    assert late.read_bytes() == b"one line\n"
    assert one.events("job.failed") == []


def test_catching_up_goes_on_at_once_inside_the_window(daemon):
    """What was missed is done at the start, if the job's window is open then."""
    opened = datetime.now(UTC) - timedelta(hours=1)
    one = daemon('[rotate.a]\npaths = ["LOGS/a/*.log"]\ncron = "@yearly"\n' + _window(opened))
    late = one.tree.log("a/late.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    one.start()
    assert one.event("log.rotated", target=str(late))["reason"].startswith("missed at ")
    assert len(one.events("log.rotated")) == 1


# What is queued when the world changes


HELD = "after = ['/bin/sh', '-c', 'until [ -e HERE/go ]; do sleep 0.02; done']\n"
"""Keeps the lane of rotations busy until there is a file `go`, or ten seconds are over."""


def _queued_behind_another(daemon: Callable[[str], Daemon]) -> tuple[Daemon, Path]:
    """A daemon whose rotate.a is at work until `go`, and a log of rotate.b that has grown and waits for its turn."""
    one = daemon(ONE + HELD + GROWS.format("b")).start()
    assert one.tree.run("do", "--all", "--due").returncode == 0  # what is done at every start is over by now
    one.rotates("a/x.log")
    log = one.grow("b/x.log")
    until(lambda: one.state_of("rotate.b") == "queued", "its run is queued", 5)
    assert one.state_of("rotate.a") == "running"
    return one, log


def _let_go(one: Daemon) -> None:
    """Ends what rotate.a is at, and waits until a run that was queued after that of rotate.b has come to its turn."""
    (one.tree.folder / "go").touch()
    one.event("command.finished", job="rotate.a")
    assert one.rotates("a/y.log")


def test_a_run_that_is_queued_does_not_begin_when_its_job_has_left_the_config(daemon):
    """A reload without a job reaches its run that waits for its turn: it never begins."""
    one, log = _queued_behind_another(daemon)
    one.tree.write_config(ONE + HELD)
    assert one.tree.run("reload").returncode == 0
    _let_go(one)
    assert log.stat().st_size == 2000
    assert {event.get("job") for event in one.events("log.rotated")} == {"rotate.a"}


def test_a_run_that_is_queued_does_not_begin_while_its_job_is_paused(daemon):
    """A pause reaches a run that waits for its turn; it is made up for when the job is resumed."""
    one, log = _queued_behind_another(daemon)
    assert one.tree.run("pause", "rotate.b").returncode == 0
    _let_go(one)
    assert log.stat().st_size == 2000
    assert one.tree.run("resume", "rotate.b").returncode == 0
    one.event("log.rotated", target=str(log))


def test_a_run_that_is_queued_goes_by_the_config_of_when_it_begins(daemon):
    """With `keep` raised by a reload, a run that was queued before deletes nothing that stays by the new one."""
    big = '[compress.big]\npaths = ["LOGS/big/*"]\ncron = "@yearly"\nolder_than = "1h"\nlevel = 19\n'
    one = daemon(GROWS.format("b") + "keep = 1\n" + big).start()
    lines = b"".join(b"%d %d request handled\n" % (number, number * 7919 % 104_729) for number in range(600_000))
    target = str(one.tree.log("big/data", lines, age=1e5))
    with subprocess.Popen([MAINTD, "-c", one.tree.config, "do", "compress.big"], stdout=subprocess.DEVNULL) as busy:
        until(lambda: one.state_of("compress.big") == "running", "it compresses", 10)
        old = [one.tree.log(f"b/x.log.2026010{day}T000000Z.zst") for day in (1, 2, 3)]
        log = one.rotates("b/x.log")["rotated_to"]
        until(lambda: one.state_of("rotate.b") == "queued", "what was set aside waits to be compressed", 5)
        one.tree.write_config(GROWS.format("b") + "keep = 9\n" + big)
        assert one.tree.run("reload").returncode == 0
        assert one.events("log.compressed") == []
        assert busy.wait(60) == 0
    one.event("log.compressed", target=target)
    one.event("log.compressed", target=log)
    one.event("job.finished", count=2, job="rotate.b")
    assert one.events("log.expired") == []
    assert all(path.exists() for path in old)


# Between the two renames

NUMBERED = """
import os, signal, sys, time

path = sys.argv[1]

def opened():
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)

log = opened()
signal.signal(signal.SIGUSR1, lambda *_: os.dup2(opened(), log))
os.write(log, b"".join(b"line %d\\n" % number for number in range(5000)))
os.write(1, b"ready\\n")
for number in range(5000, 1_000_000):
    os.write(log, b"line %d\\n" % number)
    time.sleep(0.01)
"""


def test_a_rotation_that_failed_between_its_renames_is_completed_by_itself(daemon):
    """With the disk full at the second rename, the log comes back, its writer is told, and no line is lost."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed")
    if subprocess.run([strace, "-o", os.devnull, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this machine allows no tracing")
    inject = "inject=renameat2:error=ENOSPC:when=2"
    one = daemon(
        '[rotate.a]\npaths = ["LOGS/*.log"]\nmax_size = "20K"\nsignal = { name = "USR1", pidfile = "HERE/pid" }\n'
    )
    log = one.tree.logs / "a.log"
    # -D: it is the daemon that is our child, not strace
    one.start(under=[strace, "-D", "-f", "-qq", "-o", os.devnull, "-e", "trace=renameat2", "-e", inject])
    writer = subprocess.Popen([sys.executable, "-IS", "-c", NUMBERED, log], stdout=subprocess.PIPE)
    try:
        assert writer.stdout
        (one.tree.folder / "pid").write_text(str(writer.pid))
        assert writer.stdout.readline() == b"ready\n"
        failed = one.event("rotate.failed", error="ENOSPC")
        assert failed["target"] == str(log)
        one.event("log.created", target=str(log))
        one.event("writer.told", pid=writer.pid)
        one.event("log.compressed")
        until(lambda: log.stat().st_size, "the writer is at the new log")
    finally:
        writer.kill()
        writer.communicate()
    assert one.stop() == 0
    assert one.tree.temporaries() == []
    archives = [content(one.tree.logs / name) for name in one.tree.names() if name != log.name]
    lines = b"".join([*archives, log.read_bytes()]).splitlines()
    assert lines == [b"line %d" % number for number in range(len(lines))]
    assert len(lines) > 5000


def test_a_directory_that_comes_late_goes_and_comes_again_is_watched(daemon):
    """Growth is noticed in a directory made after the start, and in one that was removed and made again."""
    one = daemon(ONE).start()
    assert one.rotates("a/x.log")
    one.event("log.compressed")
    shutil.rmtree(one.tree.logs / "a")
    assert one.rotates("a/x.log")
    one.event("log.compressed", count=2)
    (one.tree.logs / "a").rename(one.tree.logs / "elsewhere")
    assert one.rotates("a/y.log")
    assert one.process
    assert one.process.poll() is None


def test_a_directory_that_cannot_be_read_is_told_and_tried_again(daemon):
    """A log directory that is closed to the daemon is a failure in its events, and its logs are done once it opens."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to drop its capabilities")
    one = daemon('[rotate.a]\npaths = ["LOGS/a/*.log"]\ncron = "@yearly"\n')
    late = one.tree.log("a/late.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    os.chown(late.parent, 65534, 65534)
    late.parent.chmod(0o700)
    with one.output.open("wb") as output:
        one.process = subprocess.Popen(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", MAINTD, "-c", one.tree.config, "run"],
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    failed = one.event("paths.failed")
    assert (failed["error"], failed["outcome"]) == ("EACCES", "failure")
    assert "CAP_DAC_OVERRIDE" in one.event("daemon.started")["missing"]
    late.parent.chmod(0o777)
    one.event("log.rotated", target=str(late))


def test_do_never_does_by_another_config_than_plan_showed(daemon):
    """A file that was edited and not reloaded: `do` through the daemon is refused, says what to do, does nothing."""
    one = daemon(ONE).start()
    one.tree.log("a/x.log", b"line\n" * 10)
    one.tree.write_config(ONE.replace("[rotate.a]", "[rotate.a]\nkeep = 30"))
    done = one.tree.run("do", "rotate.a")
    assert done.returncode == 1, done
    assert "maintd reload" in done.stderr
    assert one.events("log.rotated") == []
    assert one.tree.run("reload").returncode == 0
    assert one.tree.run("do", "rotate.a").returncode == 0
