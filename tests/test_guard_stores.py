"""A guard beside archives in object stores: it waits for none that does not answer, and needs no room to ask."""

import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import environment, until
from tests.faults.disk import Disk
from tests.test_archive import DAY
from tests.test_object_store import (
    KEYS,
    MAINTD,
    bucket,
    configure,
    do,
    guarded,
    moto,
    proxied,
    pytestmark,
    run,
)
from tests.tree import Tree

__all__ = ["bucket", "moto", "pytestmark"]
ROTATE = '[rotate.app]\npaths = ["LOGS/*.log"]\ncron = "@yearly"\nkeep = 1000\n'


def add(tree: Tree, text: str) -> None:
    tree.config.write_text(tree.config.read_text() + text.replace("LOGS", str(tree.logs)))


@contextmanager
def daemon(tree: Tree) -> Iterator[Path]:
    """The file of its events."""
    events = tree.folder / "events"
    with events.open("wb") as out:
        process = subprocess.Popen([MAINTD, "-c", tree.config, "run"], stdout=out, env=environment(**KEYS), cwd="/")
    try:
        yield events
    finally:
        process.terminate()
        process.wait(20)


def test_a_store_that_hangs_holds_up_no_guard(tmp_path, moto, bucket):
    """One that says nothing is waited for 3 s, and not asked by the next run: what lies here goes at once."""
    tree, asks, is_hanging = Tree(tmp_path), list[bytes](), list[bool]()

    def meddle(data: bytes) -> str:
        asks.append(data)
        return "stall" if is_hanging else ""

    with proxied(moto, meddle) as url:
        configure(tree, url, f"s3://{bucket}/p", 'timeout = "60s"', "keep_originals = true\n")
        for number in range(3):
            tree.log(f"{number}.csv", os.urandom(20_000), age=(60 - number) * DAY)
        for day in range(1, 4):
            tree.log(f"app.log.202602{day:02d}T000000Z.zst", os.urandom(20_000))
        tree.log("app.log", b"")
        assert do(tree).code == 0
        add(tree, f'{ROTATE}[guard.logs]\ndirectory = "LOGS"\nmax_used = "40K"\n')
        is_hanging.append(True)
        asks.clear()
        with daemon(tree) as events:
            until(lambda: b"did not answer a guard just now" in events.read_bytes(), "the run after that", 40)
    told = [json.loads(line) for line in events.read_bytes().splitlines()]
    assert len([event for event in told if event["event"] == "log.expired"]) == 2
    (failed,) = [event for event in told if event["event"] == "archive.failed"]
    (first, second) = [event for event in told if event["event"] == "directory.spent"]
    assert "the object store at" in failed["error_msg"]
    assert f"steps that failed or wait, as to ask s3://{bucket}/p" in first["kept"]
    assert f"s3://{bucket}/p: it did not answer a guard just now" in second["kept"]
    assert len(asks) <= 2, "of one run"
    assert len(tree.names()) == 5


def test_what_lies_in_a_directory_as_well_goes_before_a_store_is_asked(tmp_path, moto, bucket):
    """Of two archives that of a directory comes first, whatever their order in the config."""
    tree = Tree(tmp_path)
    configure(tree, moto.url, f"s3://{bucket}/p", more="keep_originals = true\n")
    with Disk("tmpfs") as disk:
        disk.folder.chmod(0o755)
        add(tree, f'[archive.here]\npaths = ["LOGS/*.txt"]\nto = "{disk.folder}"\nolder_than = "30d"\n')
        add(tree, 'cron = "@daily"\nkeep_originals = true\n')
        for name in ("a.csv", "b.txt"):
            tree.log(name, os.urandom(20_000), age=60 * DAY)
        assert do(tree).code == 0
        add(tree, '[guard.logs]\ndirectory = "LOGS"\nmax_used = "4K"\n')
        steps = map(json.loads, run(tree, "plan", "guard.logs", "--json").stdout.splitlines())
        assert [step["verb"] for step in steps if step["step"] == "action"] == [
            "delete",
            "ask",
            "confirm",
            "delete",
            "measure",
        ]


def test_a_store_is_asked_also_where_the_disk_is_full_to_the_last_byte(moto, bucket):
    """With state_dir on the full disk, files that the store has go: no note of its answer is needed for that."""
    with Disk("tmpfs") as disk:
        tree = Tree(disk.folder)
        configure(tree, moto.url, f"s3://{bucket}/p", more="keep_originals = true\n")
        for number in range(3):
            tree.log(f"{number}.csv", os.urandom(1 << 20), age=(60 - number) * DAY)
        assert do(tree).code == 0
        for note in tree.folder.glob("state/stores/*/losses"):
            note.unlink()
        add(tree, '[guard.logs]\ndirectory = "LOGS"\nmin_free = "1500K"\n')
        disk.fill(leave=0)
        gone = [Path(event["target"]).name for event in guarded(tree).events("file.expired")]
        assert gone == ["0.csv", "1.csv"]
