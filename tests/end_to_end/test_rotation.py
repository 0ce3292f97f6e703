"""Rotation under a real supervisord: real services, real signals, real files."""

import contextlib
import os
import re
import signal

from tests.conftest import until

from .stage import archives, lines_of


def numbers(lines: list[bytes]) -> list[int]:
    return [int(line.split()[1]) for line in lines]


def test_growing_logs_are_rotated_and_compressed_and_no_line_is_lost(stage):
    """A log that passes max_size is set aside, its writer told, compressed and verified, and no line is lost."""
    made = stage(
        {"api": ["4000"], "web": ["4000"], "idle": ["10", "3"]},
        '[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "300K"\nkeep = 50\n',
    )
    made.start()
    pids = {name: made.pid_of(name) for name in ("api", "web", "idle")}
    made.event("log.compressed", count=6)
    assert {name: made.pid_of(name) for name in ("api", "web", "idle")} == pids, "a service was restarted"
    made.ctl("stop", "api", "web", "maintd")
    for name in ("api", "web"):
        found = numbers(lines_of(made.logs / f"{name}.log"))
        assert found == list(range(len(found)))
        assert len(list(archives(made.logs / f"{name}.log"))) >= 2
    assert list(archives(made.logs / "idle.log")) == []
    rotated = made.events("log.rotated")
    assert all(event["in_bytes"] > 300 * 1024 for event in rotated)
    assert all("more than max_size" in event["reason"] for event in rotated)
    assert any("supervisord" in event["reason"] and "SIGUSR2" in event["reason"] for event in rotated)
    assert {event["outcome"] for event in made.events("job.finished")} <= {"success", "skipped"}


def test_killed_again_and_again_no_line_is_lost(stage):
    """kill -9 of maintd at any moment loses no line; the next one completes what was begun and leaves nothing over."""
    made = stage(
        {"api": ["5000"], "web": ["5000"]},
        '[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "200K"\nkeep = 1000\n',
    )
    made.start()
    for count in range(1, 4):
        made.event("log.rotated", count=count * 2)
        before = len(made.events("daemon.started"))
        made.kill_maintd()
        made.event("daemon.started", count=before + 1)
    for name in ("api", "web"):
        made.ctl("stop", name)
    made.event("daemon.started")

    def settled() -> bool:
        left = [path for path in made.logs.iterdir() if path.suffix not in (".zst", ".log")]
        return not left

    until(settled, "everything that was set aside is compressed")
    made.ctl("stop", "maintd")
    for name in ("api", "web"):
        found = numbers(lines_of(made.logs / f"{name}.log"))
        assert found == list(range(len(found)))


def test_sigterm_ends_in_order_and_leaves_no_child(stage):
    """SIGTERM under load stops maintd in order: exit 0, daemon.stopped as the last event, no process left."""
    made = stage(
        {"api": ["5000"]},
        '[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "100K"\nkeep = 1000\n',
    )
    made.start()
    made.event("log.rotated", count=2)
    pid = made.pid_of("maintd")
    children = until(lambda: _children(pid), "maintd has a child at work")
    os.kill(pid, signal.SIGTERM)
    # the two seconds are measured by `make faults`, on an idle machine
    until(lambda: not os.path.exists(f"/proc/{pid}"), "maintd has ended", 15)
    until(lambda: not children & _processes().keys(), "its children have ended with it", 5)
    made.event("daemon.started", count=2)
    names = [event["event"] for event in made.events()]
    assert names[names.index("daemon.started", 1) - 1] == "daemon.stopped"
    assert made.event("daemon.stopped")["reason"] == "SIGTERM"
    ended = re.findall(r"exited: maintd \((.*?);", (made.folder / "supervisord.log").read_text())
    assert ended == ["exit status 0"]


def _children(pid: int) -> set[tuple[int, int]]:
    """All that descend from a process, each by its pid and when it was started (clock ticks)."""
    parents = _processes()
    found: set[tuple[int, int]] = set()
    line = {pid}
    while line:
        own = {process for process, parent in parents.items() if parent in line}
        found |= own
        line = {process[0] for process in own}
    return found


def _processes() -> dict[tuple[int, int], int]:
    """Every process that has not ended, by its pid and when it was started, with its parent's pid."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError), open(f"/proc/{entry}/stat", "rb") as file:
            state, parent, *rest = file.read().rpartition(b")")[2].split()
            if state not in b"ZX":
                found[int(entry), int(rest[17])] = int(parent)
    return found
