"""`check.log`: lines that are written are counted, over rotations, and those from before are not."""

import contextlib
import gzip
import os
import resource
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backports import zstd

from tests.conftest import until

from .test_daemon import FAST
from .test_options import Looks

JOB = f'[check.log.a]\npaths = ["LOGS/a.log"]\nmatches = "ERROR"\nignores = "harmless"\n{FAST}degraded_count = 3\n'


def reason(one) -> str:
    return one.status()["checks"][0]["last_reason"] or ""


def counted(one, number: int) -> None:
    until(lambda: reason(one).startswith(f"{number} line"), f"{number} lines: {reason(one)}", 20)


def test_lines_are_counted_over_rotations(daemon):
    """What was there before does not count. What is written does, also into a log that was renamed, once each."""
    one = daemon(JOB)
    log = one.tree.log("a.log", b"ERROR of yesterday\n" * 50)
    one.start()
    counted(one, 0)
    with log.open("ab") as writer:
        writer.write(b"fine\nERROR one\nERROR harmless\nERR")
        writer.flush()
        counted(one, 1)
        assert "ERROR one" in reason(one)
        os.rename(log, f"{log}.20260101T000000Z")
        one.tree.log("a.log", b"ERROR two, in the new log\n")
        writer.write(b"OR three, whose line had begun before\n")
    event = one.event("check.degraded")
    assert event["reason"].startswith("3 lines within 5m")
    log.write_bytes(b"ERROR\n")  # cut, and written anew
    counted(one, 4)


def test_lines_are_counted_over_copytruncate(daemon):
    """What was written before somebody else copied and cut the log is counted from the copy, and what came after it.

    That it was cut is seen also if it is longer than before when it is looked at. What is too much for a look is told.
    """
    one = daemon(JOB.replace("= 3", "= 1000").replace("1s", "3s"))
    log = one.tree.log("a.log", b"ERROR of yesterday\n" * 5)
    one.start()
    counted(one, 0)
    with log.open("ab") as writer:

        def write(text: str, count: int) -> None:
            writer.write(b"".join(f"ERROR {text} {number}\n".encode() for number in range(count)))
            writer.flush()

        write("first", 10)
        counted(one, 10)
        write("before the cut", 5)
        _copy_and_cut(log)
        write("after it", 3)
        counted(one, 18)
        write("before the second", 2)
        _copy_and_cut(log)
        write("in a log that has grown past its old length" * 3, 20)
        counted(one, 40)
    large = one.tree.log("large", b"fine\n" * (4 << 20))
    os.rename(large, log)
    until(lambda: "; 4.0 MiB were too much to be read" in reason(one), "what was left out is told", 20)
    assert one.stop() == 0


def looks(*logs: Path, **options: Any) -> Looks:
    return Looks("log", paths=[*map(str, logs)], matches="ERROR", degraded_count=1000, **options)


def aged(path: Path, number: int) -> Path:
    """The same path; what it names was changed `number` ms after now, so that the order is what the test says."""
    at = time.time_ns() + number * 1_000_000
    os.utime(path, ns=(at, at))
    return path


def write(log: Path, count: int, number: int = 0) -> None:
    with log.open("ab") as file:
        file.write(b"".join(b"ERROR %d %d\n" % (number, line) for line in range(count)))
    aged(log, number)


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        (r"(?u)Fehler", 1),
        (r"Fehler \u2014", 1),
        ("Fehler \u2014 n", 1),
        ("[\u00e4\u00f6]rger", 1),
        (r"(?i)gr\u00f6\u00dfe", 1),
        (r"(?i)GR\u00d6\u00dfE$", 1),
        ("[\u00e4\u00f6]\u00c3", 0),
        (r"\xff\xfe", 1),
    ],
)
def test_letters_beyond_ascii_are_letters(tmp_path, pattern, count):
    """Every expression that `maintd check` takes is matched, in UTF-8 by its letters; an ASCII one finds any byte."""
    log = tmp_path / "a.log"
    log.touch()
    look = Looks("log", paths=[str(log)], matches=pattern, degraded_count=1000)
    look.read()
    log.write_bytes("Fehler \u2014 nichts\n\u00c4rger, \u00e4rger\nGR\u00d6\u00dfE\n".encode() + b"\xff\xfe\n")
    assert look.read().reason.startswith(f"{count} line")


def test_a_log_that_comes_later_counts_from_its_start(tmp_path):
    """What was there at the first look does not count; a dated log that begins later does, and one that was missing."""
    write(tmp_path / "app-2026-11-29.log", 50)
    dated, missing = looks(tmp_path / "app-*.log"), looks(tmp_path / "single.log")
    assert dated.read().reason.startswith("0 lines")
    assert missing.health == "down"
    write(tmp_path / "app-2026-11-30.log", 3)
    write(tmp_path / "app-2026-11-29.log", 1)
    write(tmp_path / "single.log", 5)
    assert dated.read().reason.startswith("4 lines")
    assert missing.read().reason.startswith("5 lines")


def test_a_log_is_no_generation_of_its_neighbour(tmp_path):
    """Logs `worker` and `worker-1` of one pattern: what is in the second counts once when the first is rotated."""
    first, second = tmp_path / "worker", tmp_path / "worker-1"
    write(first, 5)
    write(second, 5)
    look = looks(tmp_path / "worker*")
    look.read()
    write(second, 3)
    look.read()
    first.rename(tmp_path / "gone")
    write(first, 2)
    write(second, 1)
    assert look.read().reason.startswith("6 lines")


def test_a_number_that_is_no_date_names_another_log(tmp_path):
    """`worker-12345678` and `worker-20261399` are logs beside `worker`; `worker-20261231` is what `worker` was."""
    log = tmp_path / "worker"
    write(log, 5)
    look = looks(tmp_path / "worker*")
    look.read()
    for name in ("worker-12345678", "worker-20261399"):
        write(tmp_path / name, 2)
    assert look.read().reason.startswith("4 lines")
    log.rename(tmp_path / "worker-20261231")
    write(log, 1, 1)
    assert look.read().reason.startswith("5 lines")
    write(tmp_path / "worker-12345678", 1, 2)
    write(tmp_path / "worker-20261231", 1, 2)
    assert look.read().reason.startswith("7 lines")


def test_a_log_that_is_renamed_within_its_own_pattern_is_counted_once(tmp_path):
    """A log that goes on under another name that the pattern has, too, is no new log."""
    log = tmp_path / "app.log"
    write(log, 50)
    look = looks(tmp_path / "app*.log", tmp_path / "app.log.*")
    look.read()
    write(log, 2)
    log.rename(tmp_path / "app-1.log")
    write(log, 3)
    assert look.read().reason == "5 lines within 5m, at last: ERROR 0 2"
    write(log, 1)
    log.rename(tmp_path / "app.log.1")
    write(log, 1)
    assert look.read().reason.startswith("7 lines")


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("is_copied", [False, True])
def test_every_rotation_between_two_looks_counts(tmp_path, suffix, is_copied):
    """All that was written is counted in order, however often the log was rotated or copied and cut since; once."""
    log = tmp_path / "a.log"
    write(tmp_path / "a.log.20260101T000000Z", 7, -9)
    write(log, 50)
    look = looks(log)
    look.read()
    for number in range(1, 6):
        write(log, 100 * number, number)
        aside = tmp_path / f"a.log.20260102T00000{number}Z"
        if is_copied:
            aside.write_bytes(log.read_bytes())
            os.truncate(log, 0)
        else:
            log.rename(aside)
        packed(aside, suffix, number)
    write(log, 1, 6)
    assert look.read().reason == "1501 lines within 5m, at last: ERROR 6 0"
    write(log, 1, 7)
    assert look.read().reason.startswith("1502 lines")


@contextlib.contextmanager
def descriptors(number: int) -> Iterator[None]:
    """This process can open no more than so many files."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    unused = [one for one in range(before[0]) if not os.path.lexists(f"/proc/self/fd/{one}")]
    resource.setrlimit(resource.RLIMIT_NOFILE, (unused[number], before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_a_want_of_descriptors_loses_no_line_and_counts_none_twice(tmp_path):
    """However far a look comes before there is none left, it is unknown, and the next one goes on from the one before,
    also if it was the first.
    """
    log = tmp_path / "a.log"
    write(log, 50)
    look = looks(log)
    with descriptors(0):
        assert look.health == "unknown"
    assert look.read().reason.startswith("0 lines")
    for number, count in enumerate((1, 2)):
        write(log, count, number)
        log.rename(f"{log}.2026010{number}")
    write(log, 4, 2)
    for number in range(3):
        with descriptors(number):
            assert look.health == "unknown"
    assert look.read().reason.startswith("7 lines")
    assert look.read().reason.startswith("7 lines")


def packed(path: Path, suffix: str, number: int) -> None:
    """Compresses it as maintd does: with the time of the original."""
    if suffix:
        content = {".gz": gzip.compress, ".zst": zstd.compress}[suffix](path.read_bytes())
        aged(path, number)
        path.with_name(path.name + suffix).write_bytes(content)
        aged(path.with_name(path.name + suffix), number)
        path.unlink()
    else:
        aged(path, number)


def test_what_cannot_be_read_of_many_rotations_is_told(tmp_path):
    """More than may be read in a look, a generation in a format that is not read, and one that is gone are told."""
    log = tmp_path / "a.log"
    write(log, 1)
    look = looks(log)
    look.read()
    for number in range(1, 4):
        log.rename(tmp_path / f"a.log.{number}")
        (tmp_path / f"a.log.{number}").write_bytes(b"fine, 67890\n" * (1 << 20))
        aged(tmp_path / f"a.log.{number}", number)
        write(log, 1, 9)
    assert "; 20.0 MiB were too much to be read" in look.read().reason
    log.rename(tmp_path / "a.log.4.xz")
    aged(tmp_path / "a.log.4.xz", 11)
    write(log, 1, 12)
    assert "; 1 rotated log could not be read" in look.read().reason
    write(tmp_path / "new", 1, 13)
    (tmp_path / "new").rename(log)
    assert "; 1 rotated log could not be read" in look.read().reason


def test_a_generation_that_is_still_written_is_not_counted_again(tmp_path):
    """A program that never reopens its log writes on in one that was read: what it adds counts, and only that."""
    log = tmp_path / "a.log"
    write(log, 1)
    look = looks(log)
    look.read()
    write(log, 10, 1)
    log.rename(tmp_path / "a.log.1")
    write(log, 1, 2)
    assert look.read().reason.startswith("11 lines")
    write(tmp_path / "a.log.1", 2, 3)
    assert look.read().reason.startswith("13 lines")
    (tmp_path / "a.log.1").rename(tmp_path / "a.log.2")
    log.rename(tmp_path / "a.log.1")
    write(tmp_path / "a.log.2", 1, 5)
    write(log, 1, 6)
    assert look.read().reason.startswith("15 lines")


def test_what_an_earlier_expression_counted_does_not_count_after_a_reload(daemon):
    """With `ignores` added and reloaded it is well at once, however long `within` is; with another limit it is not."""
    one = daemon(JOB.replace('ignores = "harmless"\n', 'within = "24h"\nrecover_after = 1\n'))
    log = one.tree.log("a.log", b"")
    one.start()
    counted(one, 0)
    write(log, 5)
    one.event("check.degraded")
    one.tree.write_config(JOB.replace('ignores = "harmless"\n', 'within = "24h"\n').replace("= 3", "= 4"))
    assert one.tree.run("reload").returncode == 0
    write(log, 1)
    counted(one, 6)
    one.tree.write_config(JOB.replace("harmless", "ERROR 0").replace("= 3", "= 4"))
    assert one.tree.run("reload").returncode == 0
    one.event("check.recovered")
    counted(one, 0)


def _copy_and_cut(log: Path) -> None:
    copied = log.with_name(f"{log.name}.1")
    copied.write_bytes(log.read_bytes())
    os.truncate(log, 0)
