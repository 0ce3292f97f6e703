"""A daemon that rotates a log in place, beside a writer that knows nothing of it."""

import os
import signal
from datetime import datetime, timedelta

import pytest

from tests.conftest import until
from tests.numbered import Writer, writing

JOB = '[rotate.all]\npaths = ["{logs}/*.log"]\nmax_size = "200K"\n'


ENOUGH = 1 << 20
"""Bytes of a log, many times its limit, beyond which its writer waits for maintd: else it outruns a busy machine."""


def write_until_archived(writer: Writer, count: int) -> None:
    """Writes on until the log has so many archives."""

    def is_archived() -> bool:
        if writer.log.stat().st_size < ENOUGH:
            writer.write(200)
        return len(list(writer.log.parent.glob("a.log.*.zst"))) >= count

    until(is_archived, f"{count} archives")


def test_a_log_that_grows_is_rotated_in_place_again_and_again(site, maintd):
    """The daemon notices the growth, collapses the log in its lane for long work, and no line is lost over it."""
    site.configure(JOB)
    log = site.logs / "a.log"
    with writing(log) as writer:
        daemon = maintd.start("run")
        for rotations in range(1, 4):
            write_until_archived(writer, rotations)
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        writer.check()
    assert len(site.names()) >= 4


def test_a_daemon_that_is_killed_again_and_again_loses_and_doubles_no_line(site, maintd):
    """After kill -9 at any moment of rotations in place, the next daemon completes or takes back what was begun."""
    site.configure(JOB.replace("200K", "50K"))
    log = site.logs / "a.log"
    with writing(log) as writer:
        for kill in range(3):
            daemon = maintd.start("run")
            archives = len(list(site.logs.glob("a.log.*.zst")))
            write_until_archived(writer, archives + 1)
            for _ in range(kill):
                writer.write(200)
            daemon.kill()
            daemon.wait()
        (site.runtime_dir / "control.sock").unlink()
        daemon = maintd.start("run")
        until((site.runtime_dir / "control.sock").exists, "the control socket")
        until(lambda: not [name for name in site.names() if ".maintd-" in name], "the recovery")
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0
        writer.check()
    assert not [name for name in site.names() if ".maintd-" in name]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may see who holds another user's log")
def test_what_is_put_off_for_the_other_lane_is_in_the_plan_of_both(site, maintd):
    """`do` through a running daemon rotates in place what `plan` shows, in one run."""
    site.configure('[rotate.all]\npaths = ["{logs}/*.log"]\ncron = "0 0 1 1 *"\n')
    with writing(site.logs / "a.log") as writer:
        writer.write(1000)
        daemon = maintd.start("run")
        until((site.runtime_dir / "control.sock").exists, "the control socket")
        planned = maintd("plan")
        assert "collapsed in place" in " ".join(planned.stdout.split())
        done = maintd("do", "rotate.all")
        assert done.returncode == 0, done.stderr
        assert len(site.names()) == 2
        writer.check()
        daemon.send_signal(signal.SIGTERM)
        assert daemon.wait(10) == 0


def test_what_the_lane_for_long_work_puts_off_is_tried_again_ever_later(daemon):
    """A log that holds no whole line yet is no failure, and is asked for again after 5 s, then 10, and so on."""
    daemon = daemon('[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "0 0 * * *"\n')
    log = daemon.tree.log("a.log", b"x" * 300_000)
    daemon.tree.log("a.log.20260101T000000Z", b"missed since then\n")
    with log.open("ab"):
        daemon.start()
        until(lambda: len(put_off(daemon)) >= 3, "three tries", 60)
        assert daemon.stop() == 0
    first, second, third = put_off(daemon)[:3]
    assert third - second >= timedelta(seconds=9.5) > second - first
    assert daemon.events("rotate.failed") == []
    assert log.stat().st_size == 300_000


def put_off(daemon) -> list[datetime]:
    """When the log was said to hold no whole line."""
    found = [event for event in daemon.events() if "less than a block of whole lines" in event["msg"]]
    return [datetime.fromisoformat(event["ts"]) for event in found]
