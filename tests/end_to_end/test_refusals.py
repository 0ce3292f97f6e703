"""Logs that are not rotated because that could lose lines: said once, and tried again."""

from pathlib import Path

from tests.conftest import until

from .daemon import Daemon

SHARES = '[rotate.a]\npaths = ["LOGS/*/*.log"]\nolddir = "HERE/old"\ncron = "@yearly"\n'
"""Refuses two logs of one name, whose archives would have one name too, until only one of them is left."""


def _two_alike(one: Daemon) -> tuple[Path, Path]:
    return one.tree.log("1/x.log"), one.tree.log("2/x.log")


def test_a_log_that_was_refused_to_a_person_is_tried_again(daemon):
    """What `maintd do` put off is rotated as soon as it can be; what it has rotated is not rotated a second time."""
    one = daemon(SHARES).start()
    first, second = _two_alike(one)
    other = one.tree.log("1/y.log")
    assert one.tree.run("do", "rotate.a").returncode == 5
    other.write_bytes(b"more\n")
    first.unlink()
    assert one.event("log.rotated", target=str(second))["reason"].startswith("asked before")
    one.event("job.finished", cause="asked before")
    assert other.read_bytes() == b"more\n"
    until(lambda: str(second) not in [item["log"] for item in one.status()["refused"]], "it is not refused any more")
    assert second.read_bytes() == b""


def test_a_refusal_is_said_once(daemon):
    """While nothing changes, rotate.refused is not said again, however often the log is tried, over a restart too.

    A person who asks is told each time.
    """
    one = daemon(SHARES)
    _two_alike(one)
    (one.tree.folder / "old").mkdir()
    (one.tree.folder / "old/x.log.20200101T000000Z.zst").write_bytes(b"")

    def last_run() -> str | None:
        (job,) = one.status()["jobs"]
        return job["last_run"]

    one.start()
    tried = until(last_run, "it was tried")
    assert len(one.events("rotate.refused")) == 1
    tried = until(lambda: (last := last_run()) != tried and last, "it was tried again", 20)
    assert one.stop() == 0
    one.start()
    until(lambda: last_run() != tried, "it was tried at the start")
    assert len(one.events("rotate.refused")) == 1
    assert len(one.tree.do("rotate.a").events("rotate.refused")) == 2
    assert len(one.events("rotate.refused")) == 3
    one.tree.write_config(SHARES + "keep = 3\n")
    assert one.tree.run("reload").returncode == 0
    assert one.stop() == 0
    one.start()
    one.event("rotate.refused", count=4)
