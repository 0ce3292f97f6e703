"""A run that waits for its turn goes by the config and the pauses of when that comes."""

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import until
from tests.tree import MAINTD

from .daemon import GROWS, ONE, Daemon

HELD = "after = ['/bin/sh', '-c', 'until [ -e HERE/go ]; do sleep 0.02; done']\n"
"""Keeps the lane of rotations busy until there is a file `go`, or ten seconds are over."""


def _queued_behind_another(daemon: Callable[[str], Daemon]) -> tuple[Daemon, Path]:
    """A daemon whose rotate.a is at work until `go`, and a log of rotate.b that has grown and waits for its turn."""
    one = _settled(daemon(ONE + HELD + GROWS.format("b")))
    one.rotates("a/x.log")
    log = one.grow("b/x.log")
    until(lambda: one.state_of("rotate.b") == "queued", "its run is queued", 5)
    assert one.state_of("rotate.a") == "running"
    return one, log


def _settled(one: Daemon) -> Daemon:
    """Starts it, and waits until what is done at every start is over, which would pass for what comes later."""
    one.start()
    assert one.tree.run("do", "--all", "--due").returncode == 0
    return one


@contextmanager
def _ordered(one: Daemon, job: str) -> "Iterator[subprocess.Popen[str]]":
    """A `maintd do` that is under way, and does not outlive the test."""
    arguments = [MAINTD, "-c", one.tree.config, "do", job]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


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


def test_an_order_for_a_job_that_left_the_config_ends(daemon):
    """`maintd do` of a job that a reload took away while it was queued says so by its exit code, and does not hang."""
    one = _settled(daemon(ONE + HELD + GROWS.format("b")))
    one.tree.log("a/x.log")
    log = one.tree.log("b/x.log")
    with _ordered(one, "rotate.a") as first:
        until(lambda: one.state_of("rotate.a") == "running", "it is at work")
        with _ordered(one, "rotate.b") as second:
            until(lambda: one.state_of("rotate.b") == "queued", "it waits behind the other")
            one.tree.write_config(ONE + HELD)
            assert one.tree.run("reload").returncode == 0
            (one.tree.folder / "go").touch()
            assert (first.wait(20), second.wait(20)) == (0, 1)
            assert second.stdout.read() == "rotate.b: skipped, not begun\n"
    assert log.stat().st_size


def test_a_time_that_has_come_is_not_lost_when_the_job_changes_before_its_turn(daemon):
    """A scheduled run that waits for another to end, and whose job is changed meanwhile, goes by the new options."""
    one = _settled(daemon(ONE + HELD))
    one.tree.log("a/x.log")
    late = one.tree.log("b/x.log")
    old = [one.tree.log(f"b/x.log.2020010{day}T000000Z.zst") for day in (1, 2, 3)]
    missed = '[rotate.b]\npaths = ["LOGS/b/*.log"]\ncron = "@yearly"\n'
    with _ordered(one, "rotate.a") as busy:
        until(lambda: one.state_of("rotate.a") == "running", "it holds the lock of rotations")
        one.tree.write_config(ONE + HELD + missed + "keep = 1\n")
        assert one.tree.run("reload").returncode == 0
        assert one.state_of("rotate.b") == "queued"
        one.tree.write_config(ONE + HELD + missed + "keep = 9\n")
        assert one.tree.run("reload").returncode == 0
        (one.tree.folder / "go").touch()
        assert busy.wait(20) == 0
    one.event("log.rotated", target=str(late))
    one.event("log.compressed")
    assert all(path.exists() for path in old)
