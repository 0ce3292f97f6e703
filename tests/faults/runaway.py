"""A writer that fills a small disk as fast as it can be told to, and a guard that keeps a floor under it.

Nothing that a policy keeps is lost: what goes is a generation beyond `keep_min`, and is said. The writer never gets
ENOSPC, and what others may use never falls below the floor.
"""

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from maintd import names
from tests.conftest import environment, until
from tests.tree import MAINTD, content

from .crew import row
from .disk import Disk
from .table import Row
from .trial import Report

NAME = "runaway"
SIZE = 64 << 20
FLOOR = 16 << 20
KEEP_MIN = 2
RAMP = 4.0
"""Seconds."""
FILLER = "202601"
"""The month of the archives that fill a disk."""
KINDS = ("ext4", "tmpfs")
WRITER = """
import os, signal, sys, time

path, rate, seconds, ramp = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), float(sys.argv[4])

def opened():
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

log, hung_up, number = opened(), False, 0

def hang_up(*_):
    global hung_up
    hung_up = True

signal.signal(signal.SIGHUP, hang_up)
os.write(1, b"begun\\n")
begin = time.monotonic()
while (elapsed := time.monotonic() - begin) < seconds:
    if hung_up:
        os.close(log)
        log, hung_up = opened(), False
    if number * 128 > rate * (elapsed - ramp / 2 if elapsed > ramp else elapsed * elapsed / (2 * ramp)):
        time.sleep(0.005)
        continue
    block = b""
    for n in range(number, number + 64):
        block += b"%09d %s the same words in each line of it, as in logs\\n" % (n, os.urandom(34).hex().encode())
    os.write(log, block)
    number += 64
print(number)
"""


@dataclass
class Scene:
    """A disk with logs on it, and a daemon that guards it, whose own files lie elsewhere."""

    disk: Disk
    here: Path

    @property
    def logs(self) -> Path:
        return self.disk.folder / "logs"

    @property
    def log(self) -> Path:
        return self.logs / "app.log"

    def configure(self, **guard: str) -> None:
        told = "" if self.disk.kind == "ext4" else f'signal = {{ name = "HUP", pidfile = "{self.here}/pid" }}\n'
        options = {"directory": f'"{self.disk.folder}"', "min_free": str(FLOOR), "keep_min": str(KEEP_MIN)} | guard
        text = f'[daemon]\nstate_dir = "{self.here}/state"\nruntime_dir = "{self.here}/run"\n'
        text += f'[supervisor]\nurl = "unix://{self.here}/none"\n'
        text += f'[rotate.app]\npaths = ["{self.logs}/*.log"]\ncron = "@yearly"\nkeep = 1000\n{told}'
        text += "[guard.disk]\n" + "".join(f"{k} = {v}\n" for k, v in options.items())
        (self.here / "maintd.toml").write_text(text)
        (self.here / "maintd.toml").chmod(0o644)
        self.logs.mkdir(exist_ok=True)

    def maintd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        argv = [MAINTD, "-c", self.here / "maintd.toml", *arguments]
        return subprocess.run(argv, check=False, capture_output=True, text=True, env=environment(), timeout=120)

    @contextlib.contextmanager
    def daemon(self) -> Iterator[None]:
        with (self.here / "events").open("ab") as out:
            argv = [MAINTD, "-c", self.here / "maintd.toml", "run"]
            process = subprocess.Popen(argv, stdout=out, env=environment())
        try:
            until(lambda: self.events("daemon.started"), "the daemon", 60)
            yield
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def events(self, *wanted: str) -> list[dict[str, Any]]:
        path = self.here / "events"
        whole = path.read_bytes().rpartition(b"\n")[0] if path.exists() else b""
        found = [json.loads(line) for line in whole.splitlines()]
        return [event for event in found if not wanted or event["event"] in wanted]

    def has_guarded(self) -> bool:
        """Whether a run of the guard has ended: before that its copies come and go."""
        return any(event["job"] == "guard.disk" for event in self.events("job.finished"))

    def free(self) -> int:
        found = os.statvfs(self.disk.folder)
        return found.f_bavail * found.f_frsize

    def archives(self) -> list[Path]:
        """Oldest first."""
        found = [(name, path) for path in self.logs.iterdir() if (name := names.parse_archive(path.name))]
        return [path for _, path in sorted(found)]

    def write(self, rate: int, seconds: float, ramp: float = 0) -> tuple[int, int, str]:
        """Has the log written at so many bytes a second: how many lines it has, the least that was free, complaints.

        With a `ramp` it takes so many seconds to get to that pace.
        """
        argv = [sys.executable, "-IS", "-c", WRITER, self.log, str(rate), str(seconds), str(ramp)]
        writer = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert writer.stdout
        writer.stdout.readline()
        (self.here / "pid").write_text(f"{writer.pid}\n")
        least = self.free()
        while writer.poll() is None:
            least = min(least, self.free())
            time.sleep(0.005)
        out, err = writer.communicate()
        return int(out or 0), least, err.decode()


@contextlib.contextmanager
def scene(kind: str, **guard: str) -> Iterator[Scene]:
    with Disk(kind, SIZE) as disk, tempfile.TemporaryDirectory(prefix="maintd-") as here:
        made = Scene(disk, Path(here).resolve())
        made.configure(**guard)
        yield made


def check(made: Scene, lines: int, least: int, complaints: str, report: Report) -> None:
    """What went is what the policy allowed, each generation said; the rest is whole, line by line, to the last one."""
    if complaints:
        report.wrongs.append(f"the writer: {complaints.splitlines()[-1]}")
    if least < FLOOR:
        report.wrongs.append(f"only {least} bytes were free, the floor is {FLOOR}")
    expired = {event["target"].removesuffix(".zst") for event in made.events("log.expired")}
    rotated = {event["rotated_to"].removesuffix(".zst") for event in made.events("log.rotated")}
    kept = {str(path).removesuffix(".zst") for path in made.archives()}
    if rotated - kept != expired & rotated or expired & kept:
        report.wrongs.append(f"not said: {rotated - kept - expired}; said and there: {expired & kept}")
    if len(kept) < min(KEEP_MIN, len(rotated)):
        report.wrongs.append(f"only {len(kept)} generations are left of {len(rotated)}")
    _check_lines(made, lines, report)
    if not (rotated or expired):
        report.wrongs.append("nothing was rotated or deleted: the guard had nothing to do")


def fill(made: Scene) -> None:
    """Archives of long ago up to the last byte, plain as another tool may leave them."""
    size, number = 3 << 20, 0
    with contextlib.suppress(OSError):
        while True:
            number += 1
            path = made.logs / f"app.log.{FILLER}{number:02d}T000000Z"
            with path.open("wb", buffering=0) as file:
                written = 0
                while written < size:
                    written += file.write(b"%s\n" % os.urandom(32768).hex().encode()) or 0


def run(share: float) -> Row:
    """A minute on each file system from an empty disk, and one from a full one."""
    return row("runaway writer on 64 MB, kept above the floor", "runs", list(_reports(60 * share)))


def _reports(seconds: float) -> Iterator[Report]:
    for kind in KINDS:
        for is_full in (False, True):
            yield trial(kind, seconds, is_full=is_full)
        yield killed(kind, seconds)


def killed(kind: str, seconds: float, rate: int = 1 << 20, seed: int = 7) -> Report:
    """The guard is killed again and again, mostly at work, and started anew: every line that is kept is whole.

    What a kill cuts off between a deletion and its event nobody hears of; and while nobody guards, the floor cannot
    hold. But what goes is what the policy allows, the writer never gets ENOSPC, and nothing is left half done.
    """
    report = Report(f"{kind}, killed again and again, {seconds:.0f} s")
    chance = random.Random(seed)
    over = threading.Event()
    with scene(kind) as made:
        kills = threading.Thread(target=_kill_daemons, args=(made, chance, over))
        fill(made)
        kills.start()
        try:
            until(lambda: made.free() >= FLOOR, "room to begin with", 90)
            lines, _, complaints = made.write(rate, seconds, RAMP)
        finally:
            over.set()
            kills.join()
        with made.daemon():
            until(lambda: made.free() >= FLOOR, "room at the end", 60)
        made.maintd("do", "--all")
        if complaints:
            report.wrongs.append(f"the writer: {complaints.splitlines()[-1]}")
        left = [path.name for path in made.disk.folder.rglob(f"*{names.TEMPORARY}")]
        if left:
            report.wrongs.append(f"left half done: {left}")
        _check_lines(made, lines, report)
        if len(made.archives()) < KEEP_MIN:
            report.wrongs.append(f"only {len(made.archives())} generations are left")
        report.reached = len(made.events("daemon.started")) > 2
    return report


def _kill_daemons(made: Scene, chance: random.Random, over: threading.Event) -> None:
    """Starts the daemon, and kills it within a second or so of its being at work, until it is over.

    Each lives a little longer than the one before: on a busy machine the first get nothing done.
    """
    lives = 0
    while not over.is_set():
        count = len(made.events("daemon.started"))
        with (made.here / "events").open("ab") as out:
            argv = [MAINTD, "-c", made.here / "maintd.toml", "run"]
            process = subprocess.Popen(argv, stdout=out, stderr=subprocess.DEVNULL, env=environment())
        until(lambda: len(made.events("daemon.started")) > count or process.poll() is not None, "the daemon", 60)  # noqa: B023
        over.wait(chance.uniform(0.0, 1.5 + lives / 4))
        lives += 1
        process.kill()
        process.wait()


def _check_lines(made: Scene, lines: int, report: Report) -> None:
    """The lines that are kept are whole, in order, and the last ones."""
    own = [path for path in made.archives() if FILLER not in path.name]
    text = b"".join(map(content, own)) + made.log.read_bytes()
    found = [int(line[:9]) for line in text.splitlines() if not line.isspace()]
    if found != list(range(found[0] if found else 0, lines)):
        report.wrongs.append(f"lines are missing among {len(found)} up to {lines}")


def trial(kind: str, seconds: float, *, is_full: bool, rate: int = 5 << 20) -> Report:
    """A disk that was full a moment ago has a tenth of the floor to spare: less than such a writer fills in the second
    between two looks. There it takes its time to get to its pace, and the floor holds from the first byte on.
    """
    report = Report(f"{kind}, {'full at the start' if is_full else 'empty at the start'}, {seconds:.0f} s")
    with scene(kind) as made:
        made.configure(ballast='"4M"', ballast_file=f'"{made.disk.folder}/ballast"')
        if is_full:
            assert made.maintd("do", "guard.disk").returncode == 0
            fill(made)
        with made.daemon():
            if is_full:
                until(lambda: made.free() >= FLOOR and made.has_guarded(), "room to begin with", 60)
            lines, least, complaints = made.write(rate, seconds, RAMP if is_full else 0)
            until(lambda: made.free() >= FLOOR, "room at the end", 60)
        if list(made.logs.glob(f"*{names.TEMPORARY}")):  # the stop came in the middle of a rotation in place
            made.maintd("do", "rotate.app")
        check(made, lines, least, complaints, report)
    return report
