"""Drills: a snapshot is restored and checked on a schedule, damage anywhere is found, and the last good one stays."""

import json
import shutil  # noqa: TID251 - to copy a snapshot as a person would
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import until
from .test_backup import JOB, at, database, rows_of, snapshots
from .tree import Tree

DRILL = '[drill.app]\ncron = "@weekly"\ndestination = "HERE/kept"\nset = "app"\n'


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOB + DRILL)
        database(tree.logs / "a.db")
        tree.log("p.csv", b"first\n")
        assert tree.do("backup.app").code == 0
        yield tree


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_a_restore_is_proven(tree):
    """The newest snapshot is restored aside, opened, compared, and removed; the snapshot and `backups` say when."""
    did = tree.do("drill.app")
    assert did.code == 0, str(did)
    proven = did.event("restore.proven")
    assert (proven["files"], proven["databases"]) == (2, 1)
    (snapshot,) = snapshots(tree)
    assert json.loads((snapshot / "proof.json").read_text())["damage"] == ""
    (line,) = tree.run("backups", "--json").stdout.splitlines()
    assert json.loads(line)["proven"]
    assert "was last proven" in tree.plan("drill.app")[-1]["reason"]


@pytest.mark.parametrize("what", ["*.tar.zst", "manifest.json", "SHA256SUMS", "CONTENTS.sha256"])
def test_a_flipped_byte_anywhere_is_found(tree, what):
    """One bit in any file of a snapshot, and the drill fails; from then on the snapshot does not count."""
    flip(next(snapshots(tree)[0].glob(what)))
    did = tree.do("drill.app")
    assert did.code in {1, 5}
    assert did.events("drill.failed")
    assert tree.run("backups").returncode == 3


def test_a_changed_proof_is_no_proof(tree):
    """Whatever stands in proof.json, the snapshot is listed, restored from, backed up beside and drilled as one of
    which no restore was tried yet."""
    (snapshot,) = snapshots(tree)
    at = "2026-01-01T00:00:00+00:00"
    whole = {"at": at, "damage": "", "packs": []}
    odd: list[object] = [{"at": value} for value in ("2026x01-01T00:00:00+00:00", at[:19], 5, None)]
    odd += [{"damage": 5}, {"packs": 5}, {"packs": [[]]}, {"packs": None}]
    texts = [json.dumps(whole | one).encode() for one in odd if isinstance(one, dict)]
    for n, text in enumerate([*texts, b"[]", b"5", b"\xff", b""], start=1):
        other = snapshot.with_name(f"{snapshot.name}-{n}")
        shutil.copytree(snapshot, other)
        (other / "proof.json").write_bytes(text)
    done = tree.run("backups", "--json")
    assert done.returncode == 0, done.stderr
    listed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["verified"], one["proven"]) for one in listed] == [(True, None)] * 13
    done = tree.run("restore", "app", "--to", f"{tree.folder}/out")
    assert done.returncode == 0, done.stderr
    assert tree.do("backup.app").code == 0
    assert tree.do("drill.app").event("restore.proven")


def test_damage_in_an_older_snapshot_is_found_too(tree):
    """Packs that the newest does not share are compared with their checksums as well."""
    tree.log("p.csv", b"second\n")
    tree.log("q.csv", b"x" * 100)
    database(tree.logs / "b.db", 9000)
    (tree.logs / "a.db").unlink()
    assert tree.do("backup.app").code == 0
    first, second = snapshots(tree)
    assert not {path.name for path in first.glob("*.zst")} & {path.name for path in second.glob("*.zst")}
    flip(next(first.glob("*.tar.zst")))
    did = tree.do("drill.app")
    assert did.event("drill.failed")["target"] == str(first)
    assert did.event("restore.proven")["target"] == str(second)


def test_after_damage_everything_is_stored_anew_and_the_good_one_stays(tree):
    """Nothing is linked from a damaged snapshot, those that share its pack are damaged too, the last good one stays."""
    tree.write_config(JOB + "keep = 1\n" + DRILL)
    tree.log("q.csv", b"more\n")
    did = tree.do("backup.app")
    assert did.event("snapshot.stored")["new"] == 1
    first, second = snapshots(tree)
    flip(next(first.glob("*.tar.zst")))
    assert tree.do("drill.app").code in {1, 5}
    assert tree.run("backups").returncode == 3
    did = tree.do("backup.app")
    assert did.code == 0, str(did)
    assert did.event("snapshot.stored")["new"] == 3
    assert {event["target"] for event in did.events("snapshot.expired")} == {str(first), str(second)}
    assert tree.run("backups").returncode == 0


def test_an_invariant_that_does_not_hold_any_more_condemns_no_snapshot(tree):
    """A query about the time holds when the backup is made, and not later: the drill fails, nothing is noted in the
    snapshot, and it is restored, into a directory and in place, with a word about it."""
    for seconds in (4, 20):  # the longer one for a machine that is slow
        end = int(time.time()) + seconds
        query = f"SELECT id FROM trades where unixepoch() >= {end}"
        tree.write_config(JOB + f'[backup.app.invariants]\n"LOGS/a.db" = ["{query}"]\n' + DRILL)
        did = tree.do("backup.app")
        if did.code == 0:
            break
    assert did.code == 0, str(did)
    until(lambda: time.time() > end, "what the invariant asks for to have passed")
    before = rows_of(tree.logs / "a.db")
    failed = tree.do("drill.app").event("drill.failed")
    assert "an invariant does not hold" in failed["error_msg"]
    assert failed["msg"].startswith(f"could not drill {snapshots(tree)[-1].name.replace('.', '@')}: ")
    assert not (snapshots(tree)[-1] / "proof.json").exists()
    assert tree.run("backups").returncode == 0
    for way in (["--to", f"{tree.folder}/out"], ["--in-place"]):
        done = tree.run("restore", "app", *way)
        assert done.returncode == 0, done.stderr
        assert "is as it was taken, but: an invariant does not hold" in done.stderr
    assert rows_of(at(tree.folder / "out", tree.logs / "a.db")) == rows_of(tree.logs / "a.db") == before


def test_a_drill_without_a_snapshot_fails(tree):
    """A set of which there is nothing to restore is a failure, not silence."""
    tree.write_config(DRILL.replace('set = "app"', 'set = "none"'))
    did = tree.do()
    assert did.code == 1
    assert "could not drill the set none: there is no snapshot of none" in did.event("drill.failed")["msg"]
