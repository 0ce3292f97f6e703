"""What a daemon that was down has missed: done once, at the start or when the window opens."""

from datetime import UTC, datetime, timedelta

import pytest

from tests.conftest import until

from .daemon import GROWS


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


@pytest.mark.parametrize("trigger", ['cron = "@yearly"\n', 'every = "1h"\n'], ids=["cron", "every"])
def test_a_time_whose_rotation_was_refused_is_still_missed(daemon, trigger):
    """What could not be rotated is not met by having been tried: it is made up for after a restart, when it can be."""
    one = daemon('[rotate.a]\npaths = ["LOGS/*/x.log"]\nolddir = "HERE/old"\n' + trigger)
    late, other = one.tree.log("1/x.log"), one.tree.log("2/x.log")
    (one.tree.folder / "old").mkdir()
    (one.tree.folder / "old/x.log.20200101T000000Z.zst").write_bytes(b"")
    one.start()
    until(lambda: one.status()["refused"], "the one to which the archive belongs is refused")
    assert one.stop() == 0
    other.unlink()
    one.start()
    assert one.event("log.rotated", target=str(late))["reason"].startswith("missed at ")


def test_the_disk_is_asked_whatever_is_remembered(daemon):
    """A log whose newest archive is too old is caught up on at a start, though its job has run well since."""
    one = daemon('[rotate.a]\npaths = ["LOGS/a/*.log"]\ncron = "@yearly"\n').start()
    assert one.tree.run("do", "rotate.a").returncode == 0
    assert one.stop() == 0
    late = one.tree.log("a/late.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    one.start()
    assert one.event("log.rotated", target=str(late))["reason"].startswith("missed at ")
