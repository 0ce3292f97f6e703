"""`check.log`: each line is counted once, whatever is done with the logs between two looks."""

import gzip
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from maintd import line_feed, log_reading, marks, placing, statx
from maintd.log_reading import Follower
from maintd.units import counted
from tests.conftest import until

from .test_log import aged, looks, packed, write


def test_what_is_packed_without_its_time_is_not_counted_again(tmp_path):
    """`gzip -c a.log.1 > a.log.1.gz` gives a generation that was read the time of its packing."""
    log, aside = tmp_path / "a.log", tmp_path / "a.log.1"
    write(log, 3)
    look = looks(log)
    look.read()
    write(log, 4, 1)
    log.rename(aside)
    write(log, 1, 2)
    assert look.read().reason.startswith("5 lines")
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(aside.read_bytes()))
    aged(tmp_path / "a.log.1.gz", 5)
    log.rename(tmp_path / "a.log.0")
    write(log, 1, 6)
    assert look.read().reason.startswith("6 lines")  # while it is there in both forms
    aside.unlink()
    log.rename(tmp_path / "a.log.00")
    write(log, 1, 7)
    assert look.read().reason == "7 lines within 5m, at last: ERROR 7 0"


def test_another_name_of_the_log_is_no_generation(tmp_path):
    """A log that is renamed while it is read is found beside itself; and so is one with a hard link."""
    log = tmp_path / "a.log"
    write(log, 3)
    look = looks(log)
    look.read()
    log.rename(tmp_path / "a.log.1")
    write(log, 5, 1)
    os.link(log, tmp_path / "a.log.0")
    assert look.read().reason.startswith("5 lines")
    log.unlink()
    write(log, 2, 2)
    assert look.read().reason.startswith("7 lines")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_log_that_comes_and_is_rotated_before_it_is_seen(tmp_path, suffix):
    """What a new log had written before its first rotation counts, too; not what lay there when maintd began."""
    log, aside = tmp_path / "a.log", tmp_path / f"a.log.1{suffix}"
    write(tmp_path / "a.log.2", 50, -5)
    look = looks(log)
    assert look.health == "down"
    write(log, 5, 1)
    aside.write_bytes(gzip.compress(log.read_bytes()) if suffix else log.read_bytes())
    log.unlink()
    aged(aside, 1)
    write(log, 2, 2)
    assert look.read().reason.startswith("7 lines")


def test_patterns_that_name_the_generations_too(tmp_path):
    """With `a.log*` each line counts once, also while the log itself is missing; a neighbour `a.log-1` is a log."""
    log = tmp_path / "a.log"
    write(log, 3)
    look = looks(tmp_path / "a.log*")
    look.read()
    for number in range(1, 4):
        write(log, 4, 2 * number)
        for old in range(number - 1, 0, -1):
            (tmp_path / f"a.log.{old}").rename(tmp_path / f"a.log.{old + 1}")
        log.rename(tmp_path / "a.log.1")
        look.read()
        write(log, 2, 2 * number + 1)
        assert look.read().reason.startswith(f"{6 * number} lines")
    write(tmp_path / "a.log-1", 2, 9)
    assert look.read().reason.startswith("20 lines")


@pytest.mark.parametrize("suffix", ["", ".zst"])
@pytest.mark.parametrize("kept", [10, 40])
def test_what_is_left_of_a_log_whose_front_was_archived_is_not_counted_again(tmp_path, suffix, kept):
    """An archive that ends before the place up to which the log was read, or behind it, as a collapse leaves it.

    An empty generation that is compressed meanwhile is not taken for it.
    """
    log, archive = tmp_path / "a.log", tmp_path / f"a.log.20260101T000000Z{suffix}"
    log.touch()
    empty = tmp_path / "a.log.1"
    empty.touch()
    aged(empty, -1000)
    look = looks(log)
    look.read()
    write(log, 50)
    look.read()
    write(log, 20, 1)
    lines = log.read_bytes().splitlines(keepends=True)
    mark = marks.make(b"12345678", 300)
    front = b"".join(lines[:-kept])
    archive.write_bytes(zstd.compress(front) if suffix else front)
    aged(archive, 2)
    (tmp_path / "a.log.1.gz").write_bytes(gzip.compress(empty.read_bytes()))
    aged(tmp_path / "a.log.1.gz", 3)
    empty.unlink()
    log.write_bytes(mark + b"".join(lines[-kept:]))
    aged(log, 3)
    assert look.read().reason.startswith("70 lines")
    front = b"".join(lines[-kept:])
    (tmp_path / "a.log.20260102T000000Z").write_bytes(front)
    aged(tmp_path / "a.log.20260102T000000Z", 4)
    log.write_bytes(marks.make(b"87654321", 200))
    write(log, 5, 5)
    assert look.read().reason.startswith("75 lines")


def test_a_log_that_is_copied_and_cut_while_it_is_read(tmp_path):
    """What is written to it after that counts from its start, and what no look had read counts from the copy."""
    log, copy = tmp_path / "a.log", tmp_path / "a.log.1"
    log.touch()
    follower = Follower(str(log))
    assert not list(follower.lines())
    write(log, 30)
    for number, _ in enumerate(follower.lines()):
        if number == 5:
            write(log, 2, 1)
            copy.write_bytes(log.read_bytes())
            os.truncate(log, 0)
    write(log, 10, 2)
    assert number == 29
    assert len(list(follower.lines())) == 12


_COARSE_CLOCK = 5
"""CLOCK_REALTIME_COARSE of clock_gettime(2), by which the kernel sets the times of files."""


class World:
    """Two logs, what is done to one of them, and how many lines were counted.

    Each line has another time; or they are `repeated`: the same so many, from the first on each time something is said.
    """

    def __init__(self, folder: Path, seed: int, *, repeated: int | None = None) -> None:
        self.repeated = repeated
        self.random = random.Random(seed)
        self.logs = [folder / "worker", folder / "worker-1"]
        self.log = self.logs[0]
        self.clock = time.time_ns()
        self.written = self.number = self.counted = 0
        self.names_all = self.random.random() < 0.4
        self.is_renamed = self.random.random() < 0.6
        self.memory: dict[str, Any] = {}
        for log in self.logs:
            log.touch()
            self.touch(log)

    def touch(self, path: Path) -> None:
        self.clock += self.random.choice((1_000, 1_000_000))
        os.utime(path, ns=(self.clock, self.clock))

    def write(self, count: int) -> None:
        if self.repeated:
            lines = [b"ERROR in line %d of the program\n" % (one % self.repeated) for one in range(count)]
        else:
            now = range(self.written, self.written + count)
            lines = [b"%02d:%02d:%02d ERROR\n" % (one // 3600, one // 60 % 60, one % 60) for one in now]
        with self.log.open("ab") as file:
            file.write(b"".join(lines))
        self.written += count
        self.touch(self.log)

    def aside(self) -> Path:
        self.number += 1
        stamp = self.random.choice((".20260101T", "-20260101-", "_2026-01-01_"))
        return self.log.with_name(f"{self.log.name}{stamp}{self.number:06d}")

    def rename(self) -> None:
        if self.is_renamed:
            self.log.rename(self.aside())
            self.write(self.random.choice((0, 0, 1, 30)))

    def make_copy(self) -> None:
        copy = self.aside()
        copy.write_bytes(self.log.read_bytes())
        self.touch(copy)

    def copy(self) -> None:
        self.make_copy()
        self.cut()

    def cut(self) -> None:
        os.truncate(self.log, 0)
        self.write(self.random.choice((0, 1, 60)))

    def copy_and_rename(self) -> None:
        """A copy that is not to be cut, of a log that is renamed then."""
        if self.is_renamed and self.log.read_bytes().count(b"\n") >= 8:  # fewer may be another log that begins the same
            self.make_copy()
            self.rename()

    def archive(self) -> None:
        """Its front is archived in place, as maintd does it."""
        content = self.log.read_bytes()
        begin = marks.length_at(content)
        lines = content[begin:].splitlines(keepends=True)
        if len(lines) > 2:
            count = self.random.randrange(1, len(lines))
            archive = self.aside()
            archive.write_bytes(b"".join(lines[:count]))
            self.touch(archive)
            mark = marks.make(self.random.randbytes(marks.NONCE_BYTES), 300)
            self.log.write_bytes(mark + b"".join(lines[count:]))
            self.touch(self.log)

    def archive_under_looks(self) -> None:
        """The same with a look after each of its steps: the mark is written, the blocks are gone, the archive is named.

        Between them the log does not show what was taken out of it.
        """
        content = self.log.read_bytes()
        end, begin = content.rfind(b"\n") + 1, marks.length_at(content)
        cut = (end - marks.SHORTEST) // 512 * 512
        if cut <= begin:
            return
        mark = marks.make(self.random.randbytes(marks.NONCE_BYTES), end - cut)
        self.log.write_bytes(content[:cut] + mark + content[end:])
        self.touch(self.log)
        self.look()
        self.log.write_bytes(mark + content[end:])
        self.touch(self.log)
        self.look()
        self.write(self.random.choice((0, 1, 60)))
        archive = self.aside()
        archive.write_bytes(content[begin:end])
        self.touch(archive)
        self.look()
        assert self.counted == self.written

    def pack(self) -> None:
        beside = sorted(set(self.log.parent.iterdir()) - set(self.logs))
        plain = [path for path in beside if path.suffix not in {".gz", ".zst"}]
        if plain:
            path = self.random.choice(plain)
            suffix = self.random.choice((".gz", ".zst"))
            packed = path.with_name(path.name + suffix)
            packed.write_bytes((gzip if suffix == ".gz" else zstd).compress(path.read_bytes()))
            at, born = path.stat().st_mtime_ns, statx.status(str(path)).born
            until(lambda: time.clock_gettime_ns(_COARSE_CLOCK) > born, "the kernel's clock has gone on")
            path.unlink()  # and the next file with its inode has another time of birth
            self.touch(packed)
            if self.random.random() < 0.5:
                os.utime(packed, ns=(at, at))

    def look(self) -> None:
        paths = sorted(map(str, self.log.parent.iterdir() if self.names_all else self.logs))
        since = self.memory.setdefault("since", self.clock)
        old, logs = self.memory.setdefault("old", paths), self.memory.setdefault("logs", {})
        limits = {"matches": "ERROR", "ignores": None, "limit": 100.0}
        answer = line_feed.count(lambda _: None, paths=paths, old=old, since=since, logs=logs, **limits)
        logs.update(answer["logs"])
        self.counted += answer["count"]

    def look_meanwhile(self) -> None:
        """A look at the log, in the midst of which it is copied and cut."""
        path, logs, cut = str(self.log), self.memory["logs"], self.random.randrange(10)
        follower = Follower.of(path, logs[path])
        follower.unpacks = True
        for number, _ in enumerate(follower.lines()):
            self.counted += 1
            if number == cut:
                self.copy()
        logs[path] = follower.state

    def look_between(self) -> None:
        """A log that is never renamed is copied, looked at, and cut."""
        if not self.is_renamed:
            self.make_copy()
            self.look()
            self.cut()

    def play(self, deeds: dict[str, int], count: int) -> None:
        """So many deeds in any order, some oftener than others; after each look all that was written is counted."""
        self.look()
        for _ in range(count):
            self.log = self.random.choice(self.logs)
            done = self.random.choices(list(deeds), list(deeds.values()))[0]
            if done == "write":
                self.write(self.random.choice((1, 2, 10, 40)))
            else:
                getattr(self, done)()
            if done == "look":
                assert self.counted == self.written
        self.look()
        assert self.counted == self.written


@pytest.mark.parametrize("seed", range(12))
def test_whatever_is_done_with_a_log_each_line_counts_once(tmp_path, seed):
    """Renamed, copied and cut, compressed with and without its time, archived in place, in any order, between looks and
    while one reads.

    A neighbour whose name ends with a number is another log, and what it was is nothing of this one.
    """
    deeds = {"write": 8, "rename": 2, "copy": 2, "pack": 2, "look": 4, "look_meanwhile": 1, "look_between": 1}
    World(tmp_path, seed).play(deeds | {"copy_and_rename": 1, "archive": 1, "archive_under_looks": 1}, 80)


@pytest.mark.parametrize("repeated", [1, 12])
@pytest.mark.parametrize("seed", range(8))
def test_lines_that_are_repeated_count_once_each(tmp_path, seed, repeated, monkeypatch):
    """Without a time in the lines of a crash loop, what lies beside a log, and not what it holds, shows it was cut."""
    monkeypatch.setattr(placing, "_CUT_WITHIN", 0)
    World(tmp_path, seed, repeated=repeated).play({"write": 8, "rename": 2, "copy": 2, "pack": 1, "look": 4}, 80)


def first_of(log: Path, kept: int) -> Path:
    """The path of the first of so many numbered generations, free by now: the others have the next number."""
    for number in range(kept, 0, -1):
        aside = log.with_name(f"{log.name}.{number}")
        if number == kept:
            aside.unlink(missing_ok=True)
        elif aside.exists():
            aside.rename(log.with_name(f"{log.name}.{number + 1}"))
    return aside


@pytest.mark.parametrize("kept", [1, 3])
def test_the_oldest_that_is_removed_is_not_taken_for_the_newest(tmp_path, kept, monkeypatch):
    """Of alike lines as many are copied and cut each time, and one generation is given up for each new one."""
    monkeypatch.setattr(placing, "_CUT_WITHIN", 0)
    log = tmp_path / "a.log"
    log.touch()
    look = looks(log)
    look.read()
    for number in range(1, 9):
        with log.open("ab") as file:
            file.write(b"ERROR\n" * 5)
        first_of(log, kept).write_bytes(log.read_bytes())
        os.truncate(log, 0)
        assert look.read().reason.startswith(f"{5 * number} lines")


def test_a_log_of_alike_lines_is_read_when_it_is_seen_whether_it_was_cut(tmp_path, monkeypatch):
    """A copy of it that is new, and that it begins with, may be from before the cut or not: each line counts once."""
    log, copy = tmp_path / "a.log", tmp_path / "a.log.1"
    log.touch()
    look = looks(log)
    look.read()
    log.write_bytes(b"ERROR\n" * 5)
    copy.write_bytes(log.read_bytes())
    assert look.read().reason.startswith("0 lines")
    os.truncate(log, 0)
    assert look.read().reason.startswith("5 lines")
    log.write_bytes(b"ERROR\n" * 9)
    copy.rename(tmp_path / "a.log.2")
    copy.write_bytes(b"ERROR\n" * 9)
    assert look.read().reason.startswith("5 lines")
    monkeypatch.setattr(placing, "_CUT_WITHIN", 0)
    assert look.read().reason.startswith("23 lines")


def test_a_log_that_is_renamed_more_often_than_generations_are_kept(tmp_path):
    """All that is left counts, also where all lines are alike; that the rest could not be read is told."""
    log = tmp_path / "a.log"
    log.touch()
    look = looks(log)
    look.read()
    expected = 0
    for _ in range(4):
        for _ in range(4):
            log.rename(first_of(log, 3))
            log.write_bytes(b"ERROR\n" * 7)
        expected += 28
        reason = look.read().reason
        assert reason.startswith(f"{expected} lines")
    assert reason.endswith("; 1 rotated log could not be read")


def test_a_first_look_that_has_no_time_begins_with_all_logs(tmp_path):
    """What is written after it counts, and at each look those logs come first that were read longest ago."""
    paths = [str(tmp_path / f"{number}.log") for number in range(5)]
    asked = {"paths": paths, "old": paths, "since": time.time_ns(), "matches": "ERROR", "ignores": None}
    logs: dict[str, Any] = {}

    def look(limit: float) -> tuple[int, bool]:
        answer = line_feed.count(lambda _: None, logs=logs, limit=limit, **asked)
        for path, state in answer["logs"].items():
            logs.pop(path, None)
            logs[path] = state
        return answer["count"], answer["is_late"]

    for path in paths:
        write(Path(path), 3)
    assert look(-1.0) == (0, True)
    for path in paths:
        write(Path(path), 1, 1)
    assert [look(-1.0) for _ in range(5)] == [(1, True)] * 5
    assert look(100.0) == (0, False)


def test_an_archiving_in_place_that_is_never_done_hides_nothing(tmp_path, monkeypatch):
    """The log is read up to the mark, and on from it when it has been there for long: maintd may have been killed."""
    log = tmp_path / "a.log"
    log.touch()
    look = looks(log)
    look.read()
    write(log, 200)
    content = log.read_bytes()
    overwritten = content[:1024] + marks.make(b"12345678", 1000) + content[2024:]
    log.write_bytes(overwritten)
    before, whole = content[:1024].count(b"\n"), overwritten.count(b"ERROR")
    for _ in range(2):
        assert look.read().reason.startswith(f"{before} lines")
    monkeypatch.setattr(log_reading, "_DOUBTED", 0)
    assert look.read().reason.startswith(f"{whole} lines")
    write(log, 5, 1)
    assert look.read().reason.startswith(f"{whole + 5} lines")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_what_is_written_after_the_clock_was_set_back_counts(tmp_path, suffix):
    """What was rotated since is no older than the log was at the look before, an hour ahead."""
    log = tmp_path / "a.log"
    log.touch()
    look = looks(log)
    look.read()
    write(log, 10)
    aged(log, 3_600_000)
    assert look.read().reason.startswith("10 lines")
    for number in range(1, 4):
        write(log, 5, number)
        packed(log.rename(f"{log}.2026010{number}"), suffix, number)
    write(log, 1, 4)
    assert look.read().reason.startswith("26 lines")
    assert look.read().reason.startswith("26 lines")


@pytest.mark.parametrize("is_copied", [False, True])
def test_a_log_of_alike_lines_that_is_always_just_rotated_is_read(tmp_path, monkeypatch, is_copied):
    """What was renamed is no copy, and what is always copied anew is not waited for again and again."""
    monkeypatch.setattr(log_reading, "_DOUBTED", 0)
    log = tmp_path / "a.log"
    log.touch()
    look = looks(log)
    look.read()
    written = 0
    for number in range(8):
        with log.open("ab") as file:
            file.write(b"ERROR\n" * (number + 1))
        aside = tmp_path / f"a.log.2026010{number + 1}"
        if is_copied:
            aside.write_bytes(log.read_bytes())
            os.truncate(log, 0)
        else:
            log.rename(aside)
        with log.open("ab") as file:
            file.write(b"ERROR\n" * 9 * (number + 1))
        written += 10 * (number + 1)
        if number % 2:
            readings = [look.read().reason for _ in range(2 if is_copied else 1)]
            assert readings[-1].startswith(f"{written} lines")
            assert is_copied == (readings[0] != readings[-1])


def test_a_log_that_is_begun_anew_with_the_same_lines_counts_each_time(tmp_path):
    """A program in a crash loop that opens its log for writing leaves the same few lines each time."""
    log = tmp_path / "a.log"
    log.touch()
    look = looks(log)
    look.read()
    for number in range(1, 4):
        log.write_bytes(b"starting\nTraceback\nERROR\n")
        aged(log, number)
        assert look.read().reason.startswith(f"{counted(number, 'line')} ")
        assert look.read().reason.startswith(f"{counted(number, 'line')} ")
    log.write_bytes(b"".join(b"12:00:%d ERROR\n" % number for number in range(10, 40)))
    aged(log, 5)
    assert look.read().reason.startswith("33 lines")
    aged(log, 6)
    assert look.read().reason.startswith("33 lines")  # it was touched only
