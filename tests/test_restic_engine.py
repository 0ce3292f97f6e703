"""Backups into a repository of restic: maintd's consistent copies, restic's snapshots."""

import json
import os
import shutil  # noqa: TID251 - only to find a tool
import sqlite3
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from .conftest import environment
from .test_backup import at, database, rows_of, taken
from .tree import Tree

pytestmark = pytest.mark.skipif(
    shutil.which("restic") is None, reason="restic is not installed (apt-get install restic)"
)
JOB = """
[backup.app]
cron = "@daily"
engine = "restic"
repository = "HERE/repository"
password_file = "HERE/password"
databases = ["LOGS/*.db"]
files = ["LOGS/*.csv"]
"""


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOB)
        (tree.folder / "password").write_text("a password\n")
        yield tree


def restic(tree: Tree, *arguments: str) -> str:
    line = ["restic", "-r", tree.folder / "repository", "-p", tree.folder / "password", "--no-cache", *arguments]
    return subprocess.run(line, check=True, capture_output=True, text=True, env=environment()).stdout


def snapshots(tree: Tree) -> list[dict[str, object]]:
    return list(json.loads(restic(tree, "snapshots", "--json")))


def test_restic_stores_consistent_copies_under_their_own_paths(tree):
    """A live database, with what is only in its WAL, files and output come back by `restic restore` alone; maintd lists
    the snapshot, and nothing stays on the way."""
    restic(tree, "init")
    tree.write_config(JOB + '[backup.app.commands]\n"app.sql" = ["/bin/echo", "dump"]\n')
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"1\n")
    with closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO trades VALUES (1000, 1.0, 'only in the WAL')")
        writer.commit()
        stored = taken(tree).event("snapshot.stored")
    assert (stored["files"], stored["missing"]) == (3, 0)
    (snapshot,) = snapshots(tree)
    assert snapshot["tags"] == ["maintd:app", "maintd-whole"]
    out = tree.folder / "out"
    restic(tree, "restore", "latest", "--target", str(out))
    assert len(rows_of(at(out / "maintd", path))) == 101
    assert at(out, csv).read_bytes() == b"1\n"
    assert (out / "maintd/commands/app.sql").read_text() == "dump\n"
    said = json.loads((out / "maintd/manifest.json").read_text())
    assert said["entries"][0]["database"]["rows"] == {"trades": 101}
    assert not list(out.rglob("*-wal"))
    assert os.listdir(tree.folder / "state/stores/copies") == []
    assert tree.run("backups", "app").returncode == 0
    assert "restic -r" in tree.run("restore", "app", "--to", f"{tree.folder}/no").stderr


def test_a_drill_proves_a_restore(tree):
    """restic restores into a scratch directory, the databases are opened and compared; a tag and `backups` say when. A
    damaged repository is a failure."""
    restic(tree, "init")
    drill = (
        '[drill.app]\ncron = "@weekly"\nrepository = "HERE/repository"\npassword_file = "HERE/password"\nset = "app"\n'
    )
    tree.write_config(JOB + drill)
    database(tree.logs / "a.db")
    tree.log("p.csv", os.urandom(100_000))
    assert tree.do("backup.app").code == 0
    proven = tree.do("drill.app").event("restore.proven")
    assert (proven["databases"], proven["bytes"] > 100_000) == (1, True)
    (snapshot,) = snapshots(tree)
    assert any(tag.startswith("maintd-proven:") for tag in snapshot["tags"])
    assert json.loads(tree.run("backups", "--json").stdout)["proven"]
    assert list((tree.folder / "state/stores/drills").iterdir()) == []
    for pack in (tree.folder / "repository/data").rglob("*"):
        if pack.is_file() and pack.stat().st_size > 50_000:
            pack.chmod(0o600)
            data = bytearray(pack.read_bytes())
            data[len(data) // 2] ^= 1
            pack.write_bytes(data)
    assert tree.do("drill.app").events("drill.failed")


def test_the_retention_has_restic_forget(tree):
    """Snapshots go by maintd's rules, those of other sets stay, and the last whole one is never forgotten."""
    restic(tree, "init")
    tree.write_config(JOB + "keep = 1\n")
    path = database(tree.logs / "a.db", 2000, mode="DELETE")
    tree.log("p.csv", b"1\n")
    restic(tree, "backup", "--tag", "other", str(tree.config))
    taken(tree)
    path.write_bytes(b"SQLite format 3\0" + os.urandom(40_000))
    for _ in range(2):
        assert tree.do().code == 5
    tags = [one["tags"] for one in snapshots(tree)]
    assert tags == [["other"], ["maintd:app", "maintd-whole"], ["maintd:app"]]
    path.unlink()
    taken(tree)
    did = taken(tree)
    assert did.events("repository.pruned")
    assert [one["tags"] for one in snapshots(tree)].count(["maintd:app", "maintd-whole"]) == 2


@pytest.mark.parametrize(("what", "advice"), [("no repository", "restic init"), ("wrong password", "password_file")])
def test_what_restic_refuses_is_told(tree, what, advice):
    """A repository that is not there, and a wrong password, are one failure with advice; no copy is made for them."""
    if what == "wrong password":
        restic(tree, "init")
        (tree.folder / "password").write_text("another\n")
    database(tree.logs / "a.db")
    did = tree.do()
    assert did.code == 1
    assert advice in did.event("backup.failed")["advice"]
    assert did.events("database.copied") == []


def test_options_of_the_other_engine_are_errors(tree):
    """What is for one engine alone is refused with the other."""
    tree.write_config(JOB + 'destination = "HERE/kept"\nrecipient = "age1abc"\n')
    said = tree.run("check").stderr
    assert "leave destination out" in said
    assert "recipient is not for restic" in said
    tree.write_config(JOB.replace('engine = "restic"\n', ""))
    assert 'are for engine = "restic"' in tree.run("check").stderr
