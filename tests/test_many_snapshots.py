"""What many snapshots of many files take: neither their manifests nor the files are held in memory."""

import os
import shutil  # noqa: TID251 - to have many snapshots at once
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import environment, until
from .test_backup import JOB, snapshots, taken
from .tree import MAINTD, Tree

MIB = 1 << 20


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def most_memory(tree: Tree, *arguments: str) -> int:
    """Bytes of memory that a command had at most (getrusage(2): ru_maxrss is in KiB)."""
    line = [MAINTD, "-c", tree.config, *arguments]
    process = subprocess.Popen(line, stdout=subprocess.DEVNULL, env=environment(), cwd="/")
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss * 1024


def test_manifests_are_not_held_in_memory(tree):
    """A plan beside 20 snapshots of 1,000 files takes hardly more memory than beside one."""
    for number in range(1000):
        tree.log(f"prices-of-a-symbol-{number:04}.csv")
    taken(tree)
    (one,) = snapshots(tree)
    few = most_memory(tree, "plan", "backup.app")
    for number in range(20):
        shutil.copytree(one, one.with_name(f"app.20200101T00{number:02}00Z"))
    assert most_memory(tree, "plan", "backup.app") - few < 10 * MIB
    assert len(tree.run("backups", "--json").stdout.splitlines()) == 21


def high_water(pid: int) -> int:
    """Bytes of memory that a process had at most, its children apart (proc_pid_status(5))."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def test_the_daemon_stays_small_beside_many_files(tree):
    """Backups of 3,000 files take hardly any memory of the resident process: children find, list and pack them. What
    did not change is not stored again, and what changed is."""
    for number in range(3000):
        tree.log(f"prices-of-a-symbol-{number:04}.csv")
    daemon = subprocess.Popen([MAINTD, "-c", tree.config, "run"], stdout=subprocess.DEVNULL, env=environment(), cwd="/")
    try:
        until(lambda: tree.run("status").returncode in (0, 3), "the daemon answers", 30)
        idle = high_water(daemon.pid)
        assert taken(tree).event("snapshot.stored")["new"] == 3000
        tree.log("prices-of-a-symbol-0007.csv", b"changed\n")
        (tree.logs / "prices-of-a-symbol-0008.csv").unlink()
        did = taken(tree).event("snapshot.stored")
        assert (did["files"], did["new"]) == (2999, 1)
        assert high_water(daemon.pid) - idle < 10 * MIB
    finally:
        daemon.terminate()
        daemon.wait(20)
