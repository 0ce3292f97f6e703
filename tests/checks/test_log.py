"""`check.log`: lines that are written are counted, over rotations, and those from before are not."""

import os

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
