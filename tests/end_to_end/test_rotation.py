"""Rotation under a real supervisord: real services, real signals, real files."""

import os
import signal

from .stage import archives, lines_of, wait_for


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
    for count in range(1, 6):
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

    wait_for(settled, "everything that was set aside is compressed")
    made.ctl("stop", "maintd")
    for name in ("api", "web"):
        found = numbers(lines_of(made.logs / f"{name}.log"))
        assert found == list(range(len(found)))


def test_sigterm_ends_within_two_seconds_and_leaves_no_child(stage):
    """SIGTERM under load stops maintd in order: exit 0, daemon.stopped as the last event, no process left."""
    made = stage(
        {"api": ["5000"]},
        '[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "100K"\nkeep = 1000\n',
    )
    made.start()
    made.event("log.rotated", count=2)
    pid = made.pid_of("maintd")
    children = [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _parent(int(entry)) == pid]
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "maintd has ended", deadline=2.0)
    assert made.event("daemon.stopped")["reason"] == "SIGTERM"
    assert not [child for child in children if _parent(child) == pid]
    made.event("daemon.started", count=2)


def _parent(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return int(file.read().rpartition(b")")[2].split()[1])
    except OSError:
        return 0
