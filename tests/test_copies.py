"""The compressed copy and the original it stands for: what is durable before the original goes, and what keeps it."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from .conftest import environment, until
from .tree import MAINTD, Tree, content

COMPRESS = '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\n'

Deeds = Callable[[Tree], list[tuple[str, str, int]]]

# Python runs this at the start of each process, so also in maintd's children (site(3), sitecustomize).
HOOK = """
import json, os, sys

RECORD = os.open({record!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
fsync = os.fsync

def note(what, path):
    with open("/proc/locks") as lines:
        leases = sum(" LEASE " in line and line.split()[4] == str(os.getpid()) for line in lines)
    os.write(RECORD, json.dumps([what, os.path.basename(os.fsdecode(path)), leases]).encode() + b"\\n")

def synced(descriptor):
    note("fsync", os.readlink(f"/proc/self/fd/{{descriptor}}"))
    fsync(descriptor)

os.fsync = synced
sys.addaudithook(lambda event, arguments: note("unlink", arguments[0]) if event == "os.remove" else None)
"""


@pytest.fixture
def deeds(tmp_path: Path) -> Deeds:
    """Runs `maintd do`, and returns every fsync and unlink of it and its children: what, which name, leases held."""

    def do(tree: Tree) -> list[tuple[str, str, int]]:
        record, site = tmp_path / "record", tmp_path / "site"
        site.mkdir()
        (site / "sitecustomize.py").write_text(HOOK.format(record=str(record)))
        ours = environment(PYTHONPATH=str(site), PYTHONDONTWRITEBYTECODE="1")
        subprocess.run([MAINTD, "-c", tree.config, "do", "--all"], env=ours, check=True, timeout=60)
        return [tuple(json.loads(line)) for line in record.read_text().splitlines()]

    return do


@pytest.mark.skipif(os.geteuid() != 0, reason="a lease on another's file needs CAP_LEASE: run the tests as root")
def test_a_copy_that_was_there_is_durable_before_its_original_goes(tmp_path, deeds):
    """A copy of an interrupted run, which may not have synced it, is synced with its directory before the unlink."""
    tree = Tree(tmp_path, COMPRESS)
    tree.log("a.csv", b"price\n" * 1000, age=1e6)
    assert tree.do().code == 0
    tree.log("a.csv", b"price\n" * 1000, age=1e6)
    found = [(what, name) for what, name, _ in deeds(tree)]
    assert tree.names() == ["a.csv.zst"]
    before = found[: found.index(("unlink", "a.csv"))]
    assert ("fsync", "a.csv.zst") in before
    assert ("fsync", "logs") in before


@pytest.mark.skipif(os.geteuid() != 0, reason="a lease on another's file needs CAP_LEASE: run the tests as root")
def test_nobody_waits_for_the_disk_while_a_lease_is_held(tmp_path, deeds):
    """What is compressed, deleted or cleaned goes under a lease, and is made durable after that was given back."""
    tree = Tree(tmp_path, COMPRESS + '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nkeep = 1\n')
    tree.log("a.csv", b"price\n" * 1000, age=1e6)
    expired, archive = "a.log.20260101T000000Z.zst", "a.log.20260102T000000Z"
    for name in (expired, archive, f"{archive}.zst.maintd-tmp"):
        tree.log(name)
    found = deeds(tree)
    gone = {name: leases for what, name, leases in found if what == "unlink"}
    assert gone.keys() == {"a.csv", expired, archive, f"{archive}.zst.maintd-tmp"}
    assert all(gone.values()), gone
    last = max(index for index, deed in enumerate(found) if deed[:2] == ("unlink", expired))
    assert ("fsync", "logs", 0) in found[last:]
    assert [deed for deed in found if deed[0] == "fsync" and deed[2]] == []


def test_a_change_that_hides_in_the_same_size_and_time_keeps_the_original(tmp_path):
    """Who changes a file while it is compressed, and sets its mtime back, finds it changed and not removed."""
    tree = Tree(tmp_path, COMPRESS + "level = 19\n")
    log = tree.log("a.csv", os.urandom(8 << 20), age=1e6)
    before = log.stat()
    temporary = tree.logs / "a.csv.zst.maintd-tmp"
    process = subprocess.Popen([MAINTD, "-c", tree.config, "do", "--all"], env=environment())
    try:
        until(lambda: temporary.exists() and temporary.stat().st_size > 1 << 20, "a part of the copy")
        with log.open("r+b") as file:
            file.write(b"changed")
        os.utime(log, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert temporary.exists(), "it was compressed before it could be changed"
        assert process.wait(60) == 5
    finally:
        process.kill()
        process.wait()
    assert tree.names() == ["a.csv"]
    assert log.read_bytes().startswith(b"changed")
    done = tree.do()
    assert done.code == 0, done
    assert content(tree.logs / "a.csv.zst").startswith(b"changed")
