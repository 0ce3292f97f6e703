"""`maintd events` on a log that is rotated: whoever does it and however often, every event is shown once, in order."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from supervisor.loggers import RotatingFileHandler

from tests.conftest import Command, Site, until
from tests.test_cli import event, lines
from tests.tree import Forks

NOW = datetime.now(UTC)
CODECS = ("zstd", "gzip")
WAYS = (*CODECS, "none", "supervisord")


class Log:
    """A log of numbered events; `rotate` sets it aside, in one of the ways that there are."""

    def __init__(self, site: Site, way: str) -> None:
        self.path = site.logs / "maintd.log"
        self._way, self._count = way, 0
        job = '[rotate.own]\npaths = ["{logs}/maintd.log"]\nmax_size = "1G"\n'
        self._config = site.configure(job + f'compress = "{way if way in CODECS else "none"}"\n')

    def write(self, hours_ago: float = 0) -> int:
        """Writes one event of that time, as the last thing that happens to the file; returns its number."""
        self._count += 1
        then = NOW - timedelta(hours=hours_ago)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(event(self._count, ts=then))
        os.utime(self.path, (then.timestamp(), then.timestamp()))
        return self._count

    def rotate(self) -> None:
        if self._way == "supervisord":
            handler = RotatingFileHandler(str(self.path), maxBytes=1, backupCount=10)
            handler.doRollover()
            handler.close()
            return
        did = self.maintd("do", "rotate.own")
        assert did.returncode == 0, did.stderr

    def maintd(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return Forks.of_this_process().run(["-c", str(self._config), *arguments])

    def others(self) -> list[Path]:
        """What was set aside, by age."""
        return sorted((path for path in self.path.parent.iterdir() if path != self.path), key=os.path.getmtime)


@pytest.fixture
def log(site: Site) -> Callable[[str], Log]:
    return lambda way: Log(site, way)


@contextlib.contextmanager
def stopped(process: "subprocess.Popen[bytes]") -> Iterator[None]:
    """Holds a process while things happen, so that it sees them all at one look."""
    process.send_signal(signal.SIGSTOP)
    until(lambda: Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T", "its stop")
    yield
    process.send_signal(signal.SIGCONT)


class Following:
    """`maintd events -f` at work."""

    def __init__(self, maintd: Command, *arguments: str) -> None:
        self.process = maintd.start("events", "-f", "--json", *arguments)

    def sees(self, *numbers: int) -> None:
        """The next events that it shows."""
        assert self.process.stdout
        for number in numbers:
            assert json.loads(self.process.stdout.readline())["seq"] == number

    def end(self) -> None:
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=30)
        assert (out, err.strip(), self.process.returncode) == (b"", b"", 130)


@pytest.mark.parametrize("way", WAYS)
def test_following_passes_through_every_generation(log, maintd: Command, way: str):
    """A log that is rotated three times between two looks is followed through all generations, compressed or not."""
    made = log(way)
    made.write()
    following = Following(maintd, str(made.path))
    following.sees(1)
    with stopped(following.process):
        for _ in range(3):
            made.write()
            made.rotate()
        made.write()
    following.sees(2, 3, 4, 5)
    with stopped(following.process):
        made.write()
        made.rotate()
        made.path.touch()
    following.sees(6)
    made.write()
    following.sees(7)
    following.end()


def test_following_goes_on_after_what_was_deleted(log, maintd: Command):
    """If the file that is followed was deleted, and the next one too, it goes on with the oldest that is left."""
    made = log("none")
    made.write(hours_ago=3)
    following = Following(maintd, str(made.path))
    following.sees(1)
    with stopped(following.process):
        for hours_ago in (2, 1):
            made.rotate()
            made.others()[0].unlink()
            made.write(hours_ago)
        made.rotate()
        made.write()
    following.sees(3, 4)
    following.end()


def test_following_starts_anew_in_a_file_that_was_cut(log, maintd: Command):
    """A log that was copied away and cut is read from its start again."""
    made = log("none")
    made.write(), made.write()
    following = Following(maintd, str(made.path))
    following.sees(1, 2)
    with stopped(following.process):
        os.truncate(made.path, 0)
        made.write()
    following.sees(3)
    following.end()


@pytest.mark.parametrize("way", WAYS)
def test_since_begins_in_the_right_archive(log, maintd: Command, way: str):
    """--since reads the archives that can hold events of that time, in order, and with -f then what comes."""
    made = log(way)
    for hours_ago in (9, 8, 7):
        made.write(hours_ago + 0.5)
        made.write(hours_ago)
        made.rotate()
    made.write(hours_ago=1)

    def numbers(*arguments: str) -> list[int]:
        found = made.maintd("events", "--json", *arguments, str(made.path))
        assert (found.returncode, found.stderr) == (0, "")
        return [line["seq"] for line in lines(found.stdout)]

    assert numbers() == [7]
    assert numbers("--since", "30m") == []
    assert numbers("--since", "2h") == [7]
    assert numbers("--since", "8h15m") == [4, 5, 6, 7]
    assert numbers("--since", "0001-01-01T00:00:00Z") == [1, 2, 3, 4, 5, 6, 7]
    following = Following(maintd, "--since", "7h15m", str(made.path))
    following.sees(6, 7)
    made.write()
    following.sees(8)
    following.end()


def test_since_does_not_open_what_is_too_old(log):
    """An archive last written to before that time is not even opened; one that is damaged is told and passed over."""
    made = log("zstd")
    for hours_ago in (9, 8, 7):
        made.write(hours_ago)
        made.rotate()
    made.write()
    _, middle, _ = made.others()
    then = middle.stat().st_mtime_ns
    middle.write_bytes(middle.read_bytes()[:-5])
    os.utime(middle, ns=(then, then))
    good = made.maintd("events", "--json", "--since", "7h30m", str(made.path))
    assert (good.returncode, good.stderr) == (0, "")
    bad = made.maintd("events", "--json", "--since", "10h", str(made.path))
    assert bad.returncode == 1
    assert bad.stderr.startswith(f"maintd: {middle} cannot be read")
    assert len(bad.stderr.splitlines()) == 1
    assert [line["seq"] for line in lines(bad.stdout) if line["seq"] != 2] == [1, 3, 4]


def test_two_ways_beside_each_other_are_put_in_order(site: Site):
    """What supervisord had rolled over, before or after maintd rotated the log, is shown where it belongs."""
    log = Log(site, "gzip")
    log.write(hours_ago=9)
    log.rotate()
    for hours_ago in (8, 7):
        log.write(hours_ago)
        Log(site, "supervisord").rotate()
    log.write(hours_ago=6)
    Log(site, "zstd").rotate()
    log.write()
    assert sorted(path.suffix for path in log.others()) == [".1", ".2", ".gz", ".zst"]
    found = log.maintd("events", "--json", "--since", "10h", str(log.path))
    assert [line["seq"] for line in lines(found.stdout)] == [1, 2, 3, 4, 5]


def test_what_is_no_generation_is_left_alone(log):
    """Files, directories and pipes beside the log whose names only look like generations are not read."""
    made = log("none")
    made.write()
    folder = made.path.parent
    (folder / "maintd.log.bak").write_text(event(100))
    (folder / "maintd.log.0").write_text(event(101))
    (folder / "maintd.log.2026").mkdir()
    os.mkfifo(folder / "maintd.log.3")
    (folder / "other.maintd.log.1").write_text(event(102))
    (folder / "maintd.log.20261324T000000Z").write_text(event(103))
    found = made.maintd("events", "--json", "--since", "10h", str(made.path))
    assert ([line["seq"] for line in lines(found.stdout)], found.stderr) == ([1], "")


def test_an_archive_may_be_named_itself(log):
    """A compressed archive is shown like a log."""
    made = log("zstd")
    made.write()
    made.rotate()
    found = made.maintd("events", "--json", str(made.others()[0]))
    assert [line["seq"] for line in lines(found.stdout)] == [1]
