"""Drills: a snapshot is restored and checked on a schedule, damage anywhere is found, and the last good one stays."""

import contextlib
import json
import os
import shutil  # noqa: TID251 - to copy a snapshot as a person would
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import until
from .test_backup import JOB, at, database, manifest, quiet, rewrite, rows_of, snapshots
from .test_restore import lurking, of_a_service
from .tree import NOBODY, Tree

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


def test_a_restore_of_a_services_database_is_proven(tree):
    """A drill by root opens another user's database in its own private directory."""
    of_a_service(tree)
    assert tree.do("backup.app").code == 0
    did = tree.do("drill.app")
    assert did.event("restore.proven")["databases"] == 1
    assert did.code == 0, str(did)


def test_nobody_else_reads_what_a_drill_restores(tree):
    """With `scratch` in a directory for everybody the one that a drill makes there is root's, and nobody else's; whose
    is in the way is said."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    tree.folder.chmod(0o755)
    public = tree.folder / "public"
    public.mkdir()
    public.chmod(0o1777)
    tree.write_config(JOB + DRILL + 'scratch = "HERE/public"\n')
    with lurking(public / "app.drill.maintd-tmp", f"files/{tree.logs}") as read:
        tree.do("drill.app")
    assert read == []
    shutil.rmtree(public / "app.drill.maintd-tmp", ignore_errors=True)
    (public / "app.drill.maintd-tmp").mkdir()
    os.chown(public / "app.drill.maintd-tmp", NOBODY, NOBODY)
    assert "it belongs to nobody" in tree.do("drill.app").event("drill.failed")["error_msg"]
    (public / "app.drill.maintd-tmp").rmdir()
    assert tree.do("drill.app").event("restore.proven")
    assert list(public.iterdir()) == []


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


def _truncated(known: dict[str, Any]) -> None:
    del known


def _too_large(known: dict[str, Any]) -> None:
    known["packs"][0]["size"] = 5


def _no_number(known: dict[str, Any]) -> None:
    known["packs"][0]["content"] = "x"


@pytest.mark.parametrize("was_proven", [False, True])
def test_damage_is_told_also_if_there_is_no_room_to_note_it(tree, was_proven):
    """On a destination that is full to the last byte the drill says what is damaged, and notes it: where an older proof
    was, or else by a name alone. It does not count any more, and the next snapshot has nothing of it."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root: sudo make test")
    small = tree.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", small], check=True)
    try:
        tree.write_config((JOB + DRILL).replace("HERE/kept", "HERE/small") + 'scratch = "HERE"\n')
        assert tree.do("backup.app").code == 0
        (snapshot,) = (path for path in small.iterdir() if path.name.startswith("app."))
        assert not was_proven or tree.do("drill.app").code == 0
        flip(pack := next(snapshot.glob("*.tar.zst")))
        with contextlib.suppress(OSError), (small / "fill").open("wb", buffering=0) as fill:
            while True:
                fill.write(bytes(4096))
        said = tree.do("drill.app").event("drill.failed")["error_msg"]
        assert f"{pack.name} is not what it was" in said
        assert "could not be noted" not in said
        assert tree.run("backups").returncode == 3
        assert (snapshot / "proof.json").exists() == was_proven
        (small / "fill").unlink()
        assert tree.do("backup.app").event("snapshot.stored")["new"] == 2
        assert [event["target"] for event in tree.do("drill.app").events("drill.failed")] == [str(snapshot)] * (
            not was_proven
        )
        assert (snapshot / "proof.json").exists()
    finally:
        subprocess.run(["umount", small], check=True)


@pytest.mark.parametrize("spoil", [_truncated, _too_large, _no_number])
def test_a_base_that_cannot_be_used_stops_no_backup(tree, spoil):
    """A pack that is cut off, or of which the manifest says something wrong: the snapshot does not count any more, at
    once; the next one stores everything anew, and the drill tells it and proves that one."""
    (first,) = snapshots(tree)
    spoil(known := manifest(first))
    rewrite(first, known)
    if spoil is _truncated:
        os.truncate(next(first.glob("*.tar.zst")), 50)
    assert tree.run("backups").returncode == 3
    did = tree.do("backup.app")
    assert did.code == 0, str(did)
    assert did.event("snapshot.stored")["new"] == 2
    did = tree.do("drill.app")
    assert did.event("drill.failed")["target"] == str(first)
    assert did.event("restore.proven")["target"] == str(snapshots(tree)[1])
    assert tree.run("backups").returncode == 0


def _digit(known: dict[str, Any], name: str) -> None:
    entry = next(entry for entry in known["entries"] if entry["path"].endswith(name))
    entry["sha256"] = ("1" if entry["sha256"][0] == "0" else "0") + entry["sha256"][1:]


def test_an_edited_manifest_hands_nothing_on(tree):
    """If a digit of a checksum in the manifest is another by now, the snapshot does not count, and what it says of
    files that did not change is not believed: the next one is stored anew, and can be restored."""
    (first,) = snapshots(tree)
    _digit(known := manifest(first), "p.csv")
    (first / "manifest.json").write_text(json.dumps(known))
    did = tree.do("backup.app")
    assert did.event("snapshot.stored")["new"] == 2
    assert tree.do("drill.app").event("restore.proven")
    done = tree.run("restore", "app", "--to", f"{tree.folder}/out")
    assert done.returncode == 0, done.stderr


def test_a_wrong_checksum_with_checksums_that_fit_ends_with_the_drill(tree):
    """What several manifests have wrong, one from the other, is found by the drill; after that none is believed."""
    (first,) = snapshots(tree)
    _digit(known := manifest(first), "p.csv")
    rewrite(first, quiet(known))
    assert tree.do("backup.app").event("snapshot.stored")["new"] == 0
    assert tree.do("drill.app").event("drill.failed")
    did = tree.do("backup.app")
    assert did.event("snapshot.stored")["new"] == 2
    did = tree.do("drill.app")
    assert did.code == 0, str(did)


@pytest.mark.parametrize(
    "edited",
    [{"programs": "abc"}, {"host": 5}, {"invariants": {"/x": [5]}}, {"entries": {"path": 5}},
     {"entries": {"database": "text"}}, {"packs": {"size": -1}}, {"checks": ["abc"]}],
)  # fmt: skip
def test_a_manifest_with_something_else_than_it_should_have(tree, edited):
    """It is said to be no manifest, by drill and restore, in words."""
    (first,) = snapshots(tree)
    known = manifest(first)
    for key, value in edited.items():
        if key in ("entries", "packs"):
            known[key][0] |= value
        else:
            known[key] = value
    rewrite(first, known)
    did = tree.do("drill.app")
    assert did.code in {1, 5}
    assert "no manifest of maintd's" in str(did)
    done = tree.run("restore", first.name.replace(".", "@", 1), "--to", f"{tree.folder}/out")
    assert "no manifest of maintd's" in done.stderr
    assert "Traceback" not in done.stderr


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


def test_an_invariant_may_sort_more_than_the_cache_holds(tree):
    """An invariant that groups all rows of some MB holds in the copy, in a drill, and in a restore in place."""
    path = tree.logs / "a.db"
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        rows = "WITH RECURSIVE n (i) AS (SELECT 1000 UNION ALL SELECT i + 1 FROM n WHERE i < 60000)"
        made.execute(f"INSERT INTO trades {rows} SELECT i, i, hex(randomblob(40)) FROM n")
    query = "SELECT note FROM trades GROUP BY note HAVING count(*) > 1"
    tree.write_config(JOB + f'[backup.app.invariants]\n"LOGS/*.db" = ["{query}"]\n' + DRILL)
    copied = tree.do("backup.app")
    assert copied.code == 0, str(copied)
    drilled = tree.do("drill.app")
    assert drilled.code == 0, str(drilled)
    done = tree.run("restore", "app", "--in-place")
    assert done.returncode == 0, done.stderr
    assert "as it was taken, but" not in done.stderr


def test_a_drill_without_a_snapshot_fails(tree):
    """A set of which there is nothing to restore is a failure, not silence."""
    tree.write_config(DRILL.replace('set = "app"', 'set = "none"'))
    did = tree.do()
    assert did.code == 1
    assert "could not drill the set none: there is no snapshot of none" in did.event("drill.failed")["msg"]
