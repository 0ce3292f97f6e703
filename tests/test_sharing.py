"""Several machines that archive into one prefix of an object store: real servers, and the real program twice."""

import json
import os
import subprocess
import threading
from pathlib import Path

import pytest

from maintd import inventory

from .conftest import environment
from .test_archive import DAY
from .test_expire import mounted, needs_root
from .test_object_store import (
    KEYS,
    MAINTD,
    Server,
    bucket,
    configure,
    do,
    failures,
    moto,
    objects,
    proxied,
    rclone,
    run,
)
from .tree import Tree, files

__all__ = ["bucket", "moto"]

pytestmark = pytest.mark.skipif(not MAINTD.exists(), reason="the environment with the extras is not there (make setup)")


def machine(folder: Path, url: str, to: str, more: str, size: int = 2000) -> Tree:
    """One of the two: its own state, and files of the same names with other contents."""
    folder.mkdir()
    tree = Tree(folder)
    for number in range(3):
        tree.log(f"p-2026-02-0{number + 1}.csv", os.urandom(size), age=40 * DAY)
    configure(tree, url, to, more=more)
    return tree


def held(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in files(folder)} if folder.exists() else set()


@pytest.mark.parametrize(
    ("more", "size"),
    [('bundle = "month"\n', 2000), ("", 2000), ('compress = "none"\n', 9 << 20)],
    ids=["bundle", "small", "large"],
)
def test_two_machines_at_the_same_time_lose_nothing(tmp_path, moto: Server, bucket, more, size):
    """One stores what the other is about to store under the same names: whatever has gone from here comes back."""
    held_up, other_is_done = threading.Event(), threading.Event()

    def hold(data: bytes) -> str:
        head = data.partition(b"\r\n")[0]
        if head.startswith((b"PUT", b"POST")) and (b".csv" in head or b".tar.zst" in head):
            held_up.set()
            other_is_done.wait(60)
        return ""

    with proxied(moto, hold) as url:
        first = machine(tmp_path / "1", url, f"s3://{bucket}/p", more, size)
        second = machine(tmp_path / "2", moto.url, f"s3://{bucket}/p", more, size)
        originals = held(first.logs) | held(second.logs)
        line = [MAINTD, "-c", first.config, "do", "--all"]
        process = subprocess.Popen(line, env=environment(**KEYS), stdout=subprocess.DEVNULL, cwd="/")
        assert held_up.wait(60)
        did = do(second)
        assert did.code == 0, did
        other_is_done.set()
        process.wait(60)
        for tree in (first, second, first):
            do(tree)
        assert (first.names(), second.names()) == ([], []), "the next runs take other names"
        for number, tree in enumerate((first, second)):
            run(tree, "archive", "get", f"{tree.logs}/*", "--to", str(tmp_path / f"back{number}"))
        assert held(tmp_path / "back0") | held(tmp_path / "back1") == originals
        assert not [key for key in objects(moto, bucket) if "probe" in key]


def test_a_large_manifest_is_not_put_over_that_of_another_machine(tmp_path, moto: Server, bucket):
    """Of two that list at the same moment each has its lines in the store's manifest, however large one of them is."""
    held_up, other_is_done, is_on = threading.Event(), threading.Event(), threading.Event()

    def hold(data: bytes) -> str:
        head = data.partition(b"\r\n")[0]
        if is_on.is_set() and head.startswith((b"PUT", b"POST")) and inventory.NAME.encode() in head:
            held_up.set()
            other_is_done.wait(60)
        return ""

    with proxied(moto, hold) as url:
        first = machine(tmp_path / "1", url, f"s3://{bucket}/p", "")
        second = machine(tmp_path / "2", moto.url, f"s3://{bucket}/p", "")
        assert do(first).code == 0
        do(second)  # its names are taken, and the next run takes others
        (listed,) = first.folder.rglob(inventory.NAME)
        line = json.loads(listed.read_bytes().splitlines()[0])
        with listed.open("ab") as file:
            file.write(json.dumps(line | {"why": "old " * (9 << 18)}).encode() + b"\n")
        is_on.set()
        process = subprocess.Popen([MAINTD, "-c", first.config, "do", "--all"], env=environment(**KEYS), cwd="/")
        assert held_up.wait(60)
        assert do(second).code == 0
        other_is_done.set()
        process.wait(60)
        said = run(second, "archive", "list", "--json").stdout.splitlines()
        stored = {json.loads(line)["original"].rpartition("/")[0] for line in said}
        assert stored == {str(first.logs), str(second.logs)}


def test_a_store_without_conditions_is_for_one_machine(tmp_path):
    """Where the store does not refuse a name that is taken, a second machine is refused."""
    (tmp_path / "store/bucket").mkdir(parents=True)
    server = rclone(tmp_path / "store")
    try:
        first = machine(tmp_path / "1", server.url, "s3://bucket/p", "")
        second = machine(tmp_path / "2", server.url, "s3://bucket/p", "")
        assert do(first).code == 0
        assert run(first, "archive", "verify").returncode == 0
        before = held(tmp_path / "store")
        did = do(second)
        (event,) = failures(did)
        assert event["error_msg"].startswith("another machine stores there already (maintd on "), json.dumps(event)
        assert len(second.names()) == 3
        assert held(tmp_path / "store") == before
    finally:
        server.kill()


@needs_root
def test_where_there_is_no_room_to_make_a_file_ready_that_is_said(tmp_path, moto: Server, bucket):
    """It is the disk of state_dir that is full, and not the store: the event says so, and the file stays."""
    tree = Tree(tmp_path)
    (tree.folder / "state").mkdir(mode=0o700)
    with mounted("-t tmpfs -o size=2m,mode=700", Path("none"), tree.folder / "state"):
        tree.log("large.csv", os.urandom(4 << 20), age=40 * DAY)
        configure(tree, moto.url, f"s3://{bucket}")
        (event,) = failures(do(tree))
        assert event["error"] == "ENOSPC"
        assert event["error_msg"].startswith("no room in state_dir, where it is made ready for the store: ")
        assert tree.names() == ["large.csv"]
