"""What many snapshots of many files take: their manifests are not held in memory."""

import os
import shutil  # noqa: TID251 - to have many snapshots at once
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import environment
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
