"""`check.log`: lines that are written are counted, over rotations, and those from before are not."""

import os
from pathlib import Path

from tests.conftest import until

from .test_daemon import FAST

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


def _copy_and_cut(log: Path) -> None:
    copied = log.with_name(f"{log.name}.1")
    copied.write_bytes(log.read_bytes())
    os.truncate(log, 0)
