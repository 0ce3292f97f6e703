"""Backups of live databases, files and output: what is in a snapshot, what is stored again, what is told."""

import contextlib
import hashlib
import json
import os
import shutil  # noqa: TID251 - to copy a snapshot as a person would
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintd.names import TEMPORARY

from .conftest import until
from .tree import NOBODY, Did, Tree

JOB = """
[backup.app]
cron = "@daily"
destination = "HERE/kept"
databases = ["LOGS/*.db"]
files = ["LOGS/*.csv"]
"""


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def database(path: Path, rows: int = 100, mode: str = "WAL") -> Path:
    """A database with so many numbered rows."""
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as made:
        made.execute(f"PRAGMA journal_mode = {mode}")
        made.execute("CREATE TABLE trades (id INTEGER PRIMARY KEY, price REAL, note TEXT)")
        made.execute("BEGIN")
        made.executemany("INSERT INTO trades VALUES (?, ?, ?)", ((n, n / 7, f"note {n}") for n in range(rows)))
        made.execute("COMMIT")
        made.execute("PRAGMA user_version = 7")
    return path


def snapshots(tree: Tree) -> list[Path]:
    kept = tree.folder / "kept"
    return sorted(kept.iterdir()) if kept.exists() else []


def manifest(snapshot: Path) -> dict[str, Any]:
    return dict(json.loads((snapshot / "manifest.json").read_text()))


def rewrite(snapshot: Path, known: dict[str, Any]) -> None:
    """Gives a snapshot another manifest, and the checksum that fits."""
    (snapshot / "manifest.json").write_text(json.dumps(known))
    digest = hashlib.sha256((snapshot / "manifest.json").read_bytes()).hexdigest()
    lines = [line for line in (snapshot / "SHA256SUMS").read_text().splitlines() if not line.endswith("manifest.json")]
    (snapshot / "SHA256SUMS").write_text("\n".join([*lines, f"{digest}  manifest.json"]) + "\n")


def quiet(known: dict[str, Any]) -> dict[str, Any]:
    """The manifest of a snapshot that was taken three minutes later, when its files had not changed for long."""
    return known | {"taken": (datetime.fromisoformat(known["taken"]) + timedelta(minutes=3)).isoformat()}


def unpacked(snapshot: Path, into: Path) -> Path:
    """What plain tar, zstd and sha256sum make of a snapshot, without maintd."""
    into.mkdir()
    subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=snapshot, check=True)
    for pack in sorted(snapshot.glob("*.tar.zst")):
        subprocess.run(["tar", "--zstd", "-xpf", pack, "-C", into], check=True)
    subprocess.run(["sha256sum", "--quiet", "-c", snapshot / "CONTENTS.sha256"], cwd=into, check=True)
    return into


def at(root: Path, path: Path) -> Path:
    return root / str(path).lstrip("/")


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    with contextlib.closing(sqlite3.connect(f"file:{path}?immutable=1", uri=True)) as found:
        assert found.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        return found.execute("SELECT * FROM trades ORDER BY id").fetchall()


def taken(tree: Tree) -> Did:
    did = tree.do()
    assert did.code == 0, str(did)
    return did


def test_a_snapshot_is_read_with_tar_zstd_and_sha256sum(tree):
    """Databases with what is in their WAL, and files, come out of a snapshot whole, with plain tools alone."""
    path = database(tree.logs / "a.db")
    csv = tree.log("prices.csv", b"day,price\n" * 1000)
    os.chmod(csv, 0o640)
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO trades VALUES (1000, 1.0, 'only in the WAL')")
        writer.commit()
        did = taken(tree)
    assert did.event("database.copied")["rows"] == 101
    (snapshot,) = snapshots(tree)
    out = unpacked(snapshot, tree.folder / "out")
    assert len(rows_of(at(out, path))) == 101
    assert at(out, csv).read_bytes() == csv.read_bytes()
    assert at(out, csv).stat().st_mode & 0o7777 == 0o640
    assert int(at(out, csv).stat().st_mtime) == int(csv.stat().st_mtime)


def test_the_manifest_says_what_is_in_it(tree):
    """Name, size, checksum, mode, owner and time of each file; of a database its rows, schema, version and SQLite."""
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"1\n")
    taken(tree)
    said = manifest(snapshots(tree)[0])
    entries = {entry["path"]: entry for entry in said["entries"]}
    assert entries.keys() == {str(path), str(csv)}
    one = entries[str(csv)]
    assert (one["size"], one["sha256"]) == (2, hashlib.sha256(b"1\n").hexdigest())
    assert (one["uid"], one["mode"], one["mtime_ns"]) == (
        os.getuid(),
        csv.stat().st_mode & 0o7777,
        csv.stat().st_mtime_ns,
    )
    about = entries[str(path)]["database"]
    assert about["rows"] == {"trades": 100}
    assert about["user_version"] == 7
    assert about["sqlite_version"] >= "3.51.3"
    assert len(about["schema_sha256"]) == 64


def test_only_maintd_can_read_a_snapshot(tree):
    """The destination and the snapshots are 0700, their files 0600, also of a database that all may read."""
    database(tree.logs / "a.db").chmod(0o644)
    taken(tree)
    for path in [tree.folder / "kept", *(tree.folder / "kept").rglob("*")]:
        assert path.stat().st_mode & 0o077 == 0, path


def test_what_did_not_change_is_not_stored_again(tree):
    """A second snapshot holds one byte of what is new, and links what is not; each is whole by itself."""
    path = database(tree.logs / "a.db", 5000)
    old = tree.log("old.csv", os.urandom(300_000))
    taken(tree)
    new = tree.log("new.csv", b"new\n")
    did = taken(tree)
    assert did.event("snapshot.stored")["new"] == 1
    assert did.event("snapshot.stored")["out_bytes"] < 2000
    first, second = snapshots(tree)
    (pack,) = first.glob("*.tar.zst")
    assert (second / pack.name).stat().st_ino == pack.stat().st_ino
    out = unpacked(second, tree.folder / "out")
    assert [at(out, one).exists() for one in (path, old, new)] == [True] * 3


def test_a_touched_file_is_known_by_its_content(tree):
    """A file with another time and the same content is not stored again, and the manifest has its new time."""
    csv = tree.log("a.csv", b"same\n" * 100)
    taken(tree)
    os.utime(csv, (1, 1))
    assert taken(tree).event("snapshot.stored")["new"] == 0
    assert manifest(snapshots(tree)[1])["entries"][0]["mtime_ns"] == 10**9


def test_nothing_to_back_up_makes_no_snapshot(tree):
    """Without any source there is nothing to do, and a person is told which pattern names nothing."""
    did = tree.do()
    assert did.code == 0
    assert {event["target"] for event in did.events("paths.missed")} == {f"{tree.logs}/*.db", f"{tree.logs}/*.csv"}
    assert snapshots(tree) == []


GONE = """
[backup.app]
cron = "@daily"
keep = 2
destination = "HERE/kept"
databases = ["LOGS/a.db", "LOGS/b.db"]
files = ["LOGS/files", "LOGS/mounted", "LOGS/spool/*"]
"""


def test_a_named_source_that_is_gone_is_lacking(tree):
    """A database or a directory that the job names and that is not there any more, or a link by now, fails the run: the
    snapshot says that it lacks it, is not verified, and the last one that has it is never given up."""
    tree.write_config(GONE)
    for name in ("a.db", "b.db"):
        database(tree.logs / name)
    for name in ("files/x", "mounted/y", "spool/z", "spool/zz"):
        tree.log(name)
    whole = taken(tree).event("snapshot.stored")["target"]
    os.rename(tree.logs / "b.db", tree.logs / "b2.db")
    (tree.logs / "b.db").symlink_to("b2.db")
    shutil.rmtree(tree.logs / "files")
    for name in ("mounted/y", "spool/z", "spool/zz"):
        (tree.logs / name).unlink()
    gone = {f"{tree.logs}/{name}" for name in ("b.db", "files", "mounted", "spool/*")}
    for _ in range(3):
        did = tree.do()
        assert did.code == 5
        assert {event["target"] for event in did.events("backup.failed")} == gone, str(did)
        assert did.event("snapshot.stored")["missing"] == 4
    assert {path.name for path in snapshots(tree)} >= {Path(whole).name}
    assert "it lacks 4 sources" in tree.run("backups").stdout
    (tree.logs / "b.db").unlink()
    os.rename(tree.logs / "b2.db", tree.logs / "b.db")
    for name in ("files/x", "mounted/y", "spool/new"):
        tree.log(name)
    assert taken(tree).event("snapshot.stored")["missing"] == 0


def test_files_of_a_pattern_may_come_and_go(tree):
    """A pattern may name nothing at first, and each file of it may go; what is excluded by now is not lacking."""
    tree.log("a.csv")
    tree.log("b.csv")
    database(tree.logs / "a.db")
    assert taken(tree).event("snapshot.stored")["missing"] == 0
    (tree.logs / "b.csv").unlink()
    tree.write_config(JOB + 'exclude = ["LOGS/*.db"]\n')
    assert taken(tree).event("snapshot.stored")["missing"] == 0


def test_a_directory_that_cannot_be_read_is_lacking(tree):
    """If maintd may not read a directory of the set, the snapshot says that it lacks it and is not verified."""
    tree.write_config('[backup.app]\ncron = "@daily"\nkeep = 2\ndestination = "HERE/kept"\nfiles = ["LOGS"]\n')
    closed = tree.log("closed/precious").parent
    tree.log("open/x")
    whole = taken(tree).event("snapshot.stored")["target"]
    os.chown(closed, NOBODY, NOBODY)
    closed.chmod(0o700)
    for _ in range(2):
        did = tree.do(powerless=True)
        assert did.code == 5
        assert did.event("snapshot.stored")["missing"] == 1, str(did)
    assert Path(whole) in snapshots(tree)


def test_output_of_commands_is_taken(tree):
    """What a command prints is a file of the snapshot; one that fails is told, and the snapshot says it lacks it."""
    tree.write_config(JOB + '[backup.app.commands]\n"app.sql" = ["/bin/echo", "dump"]\n"bad" = ["/bin/false"]\n')
    tree.log("a.csv")
    did = tree.do()
    assert did.code == 5
    assert did.event("backup.failed")["target"] == "bad"
    (snapshot,) = snapshots(tree)
    out = unpacked(snapshot, tree.folder / "out")
    assert (out / "commands/app.sql").read_text() == "dump\n"
    assert manifest(snapshot)["missing"] == ["bad"]


@pytest.mark.parametrize(("name", "mode"), [("deep.db", "WAL"), ("state", "DELETE")])
def test_a_database_among_the_files_is_copied_as_one(tree, name, mode):
    """A directory is taken with all below it, dot files too; a live database in it is never copied as a file, whatever
    it is called, also while nothing lies beside it."""
    path = database(tree.logs / name, mode=mode)
    plain = tree.log("blocks", bytes(1024))
    hidden = tree.log(".hidden/.env", b"SECRET=1\n")
    tree.write_config('[backup.all]\ncron = "@daily"\ndestination = "HERE/kept"\nfiles = ["LOGS"]\n')
    with contextlib.closing(sqlite3.connect(path)) as writer:
        writer.execute("INSERT INTO trades VALUES (1000, 1.0, 'only in the WAL')")
        writer.commit()
        did = taken(tree)
    assert did.event("database.copied")["target"] == str(path)
    out = unpacked(snapshots(tree)[0], tree.folder / "out")
    assert at(out, hidden).read_bytes() == b"SECRET=1\n"
    assert at(out, plain).read_bytes() == bytes(1024)
    assert len(rows_of(at(out, path))) == 101
    assert not list(out.rglob("*-wal"))


def test_a_damaged_database_is_told_and_kept_out(tree):
    """A database that fails its check is a failure; the rest is stored, and the snapshot says that it lacks it."""
    path = database(tree.logs / "a.db", 5000, mode="DELETE")
    database(tree.logs / "b.db")
    with path.open("r+b") as file:
        file.seek(3 * 4096 + 100)
        file.write(b"\xff" * 3000)
    did = tree.do()
    assert did.code == 5
    assert did.event("backup.failed")["target"] == str(path)
    assert (
        "damaged" in did.event("backup.failed")["error_msg"]
        or "integrity_check" in did.event("backup.failed")["error_msg"]
    )
    said = manifest(snapshots(tree)[0])
    assert said["missing"] == [str(path)]
    assert [entry["path"] for entry in said["entries"]] == [f"{tree.logs}/b.db"]


@pytest.mark.parametrize("what", ["encrypted", "foreign"])
def test_what_is_no_database_is_said_to_be_none(tree, what):
    """An encrypted or foreign file with the name of a database is a failure with advice, and is not copied."""
    tree.log("a.db", os.urandom(8192) if what == "encrypted" else b"not a database at all\n" * 100)
    tree.log("a.csv")
    did = tree.do()
    assert did.code == 5
    assert "no SQLite database" in did.event("backup.failed")["error_msg"]
    assert "exclude" in did.event("backup.failed")["advice"]


def test_a_database_whose_name_is_not_utf8_is_refused_in_words(tree):
    """It is a failure that says so; the rest is stored, and the snapshot says what it lacks. A plain file of such a
    name is taken."""
    made = database(tree.logs / "a.db", mode="DELETE")
    os.rename(made, os.fsencode(tree.logs) + b"/caf\xe9.db")
    (tree.logs / "p.csv").write_bytes(b"1\n")
    os.link(tree.logs / "p.csv", os.fsencode(tree.logs) + b"/\xe9.csv")
    did = tree.do()
    assert did.code == 5, str(did)
    assert "its name is not UTF-8" in did.event("backup.failed")["error_msg"]
    assert "rename" in did.event("backup.failed")["advice"]
    said = manifest(snapshots(tree)[0])
    assert len(said["entries"]) == 2
    assert len(said["missing"]) == 1


CHANGING = """
import os, sys
while True:
    with open(sys.argv[1], "r+b") as file:
        file.write(os.urandom(8))
"""


def test_a_file_that_changes_all_the_time_is_stored_once(tree):
    """The snapshot has it, says that it was being changed, and is not three times as large for that."""
    size = 16 << 20
    log = tree.log("p.csv", os.urandom(size))
    with subprocess.Popen([sys.executable, "-c", CHANGING, log]) as writer:
        before = log.stat().st_mtime_ns
        until(lambda: log.stat().st_mtime_ns != before, "it is being changed")
        did = until(lambda: _unsettled(tree), "it is changed at each try, for which its writer must get to it")
        writer.kill()
    assert did.event("source.unsettled")["target"] == str(log)
    assert size < did.event("snapshot.stored")["out_bytes"] < 1.5 * size
    snapshot = snapshots(tree)[-1]
    assert at(unpacked(snapshot, tree.folder / "out"), log).stat().st_size == size


def _unsettled(tree: Tree) -> Did | None:
    did = taken(tree)
    return did if did.events("source.unsettled") else None


def test_a_link_to_a_database_is_not_followed(tree):
    """A symbolic link is passed over, and said."""
    outside = database(tree.folder / "outside.db")
    (tree.logs / "link.db").symlink_to(outside)
    tree.log("a.csv")
    did = taken(tree)
    assert any("symbolic link" in event["reason"] for event in did.events("paths.missed"))
    assert [entry["kind"] for entry in manifest(snapshots(tree)[0])["entries"]] == ["file"]


def test_an_invariant_that_does_not_hold_is_a_failure(tree):
    """The user's queries run on the copy: a row that one returns is told, and a query that writes is refused."""
    tree.log("a.csv")
    database(tree.logs / "a.db")
    query = '[backup.app.invariants]\n"LOGS/a.db" = ["{}"]\n'
    tree.write_config(JOB + query.format("SELECT id FROM trades where price < 0"))
    taken(tree)
    tree.write_config(JOB + query.format("SELECT id FROM trades where id = 42"))
    assert "an invariant does not hold" in tree.do().event("backup.failed")["error_msg"]
    tree.write_config(JOB + query.format("DELETE FROM trades"))
    assert "may only read" in tree.do().event("backup.failed")["error_msg"]
    assert len(rows_of(tree.logs / "a.db")) == 100


def test_a_query_that_never_ends_is_ended(tree):
    """An invariant is given query_timeout, and then is a failure."""
    tree.log("a.csv")
    database(tree.logs / "a.db")
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n where i < 0"
    tree.write_config(JOB + f'query_timeout = "1s"\n[backup.app.invariants]\n"LOGS/a.db" = ["{endless}"]\n')
    assert "took longer than 1s" in tree.do().event("backup.failed")["error_msg"]


def test_writers_that_would_wait_too_long_are_spared(tree):
    """A database that is not in WAL mode and too large to be copied within max_pause is refused, with the estimate."""
    tree.log("a.csv")
    database(tree.logs / "a.db", 20_000, mode="DELETE")
    tree.write_config(JOB + 'max_pause = "1ms"\n')
    did = tree.do()
    failed = did.event("backup.failed")
    assert "would hold up its writers for about" in failed["error_msg"]
    assert "WAL" in failed["advice"]
    assert 'max_pause = "1s"' in failed["advice"]
    assert did.events("database.copied") == []


def test_a_database_that_stays_locked_is_a_failure(tree):
    """A service that never lets go of its database (locking_mode = EXCLUSIVE) is told of at each run, by the path of
    the database, with advice; the rest is stored, and the snapshot says what it lacks."""
    tree.log("a.csv")
    path = database(tree.logs / "a.db", mode="DELETE")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as held:
        held.execute("PRAGMA locking_mode = EXCLUSIVE")
        held.execute("INSERT INTO trades VALUES (1000, 1.0, '')")
        did = tree.do()
    assert did.code == 5
    failed = did.event("backup.failed")
    assert failed["target"] == str(path)
    assert f"{path} stayed locked" in failed["error_msg"]
    assert "locking_mode = NORMAL" in failed["advice"]
    assert did.event("job.finished")["outcome"] == "failure"
    assert manifest(snapshots(tree)[0])["missing"] == [str(path)]


def test_the_retention_deletes_the_oldest(tree):
    """keep counts snapshots; the others go once the new one is stored, each with its reason."""
    tree.write_config(JOB + "keep = 2\n")
    for number in range(3):
        tree.log("a.csv", b"%d\n" % number)
        did = taken(tree)
    assert "keep is 2" in did.event("snapshot.expired")["reason"]
    assert [manifest(one)["entries"][0]["size"] for one in snapshots(tree)] == [2, 2]


def test_the_retention_counts_snapshots_of_one_stamp_in_their_order(tree):
    """While the clock is behind the newest snapshot all that are taken have its stamp and a number: the oldest go, the
    one that was just made and those before it stay."""
    tree.write_config(JOB + "keep = 3\n")
    tree.log("p.csv", b"first\n")
    taken(tree)
    (snapshot,) = snapshots(tree)
    ahead = snapshot.rename(snapshot.with_name("app.20990101T000000Z"))
    for n in range(1, 11):
        shutil.copytree(ahead, f"{ahead}-{n}")
    did = taken(tree)
    assert len(did.events("snapshot.expired")) == 9
    assert {one.name for one in snapshots(tree)} == {f"{ahead.name}-{n}" for n in (9, 10, 11)}


def test_a_clock_that_was_ahead_once_does_not_keep_snapshots_for_ever(tree):
    """Ages go by when a snapshot was taken, and not by its stamp, which counts on from one that is from the future. It
    is as old as the one after it. `backups` says so."""
    tree.log("p.csv", b"first\n")
    taken(tree)
    ahead = snapshots(tree)[0].rename(tree.folder / "kept/app.20990101T000000Z")
    rewrite(ahead, manifest(ahead) | {"taken": "2099-01-01T00:00:00+00:00"})
    for days in (10, 9, 1):
        taken(tree)
        made = snapshots(tree)[-1]
        then = datetime.now(UTC) - timedelta(days=days)
        rewrite(made, manifest(made) | {"taken": then.isoformat(timespec="seconds")})
    rows = tree.run("backups").stdout
    assert "stamps are from the future" in rows
    assert [line.split()[1] for line in rows.splitlines() if "@2099" in line] == ["?", "10d", "9d", "1d"]
    tree.write_config(JOB + 'max_age = "5d"\n')
    taken(tree)
    assert [one.name for one in snapshots(tree)] == [f"{ahead.name}-{n}" for n in (3, 4)]


def test_the_last_verified_snapshot_is_never_deleted(tree):
    """While newer ones lack a source, the last whole one stays, whatever keep says."""
    path = database(tree.logs / "a.db", 5000, mode="DELETE")
    tree.write_config(JOB + "keep = 1\n")
    taken(tree)
    (whole,) = snapshots(tree)
    path.write_bytes(b"SQLite format 3\0" + os.urandom(40_000))
    for number in range(2):
        tree.log("a.csv", b"%d\n" % number)
        assert tree.do().code == 5
    assert whole in snapshots(tree)
    assert len(snapshots(tree)) == 2


def test_what_an_interrupted_run_left_is_removed(tree):
    """A snapshot that was being made is no snapshot, and the next run clears it away."""
    tree.log("a.csv")
    left = tree.folder / f"kept/app.20260101T000000Z{TEMPORARY}"
    (left / "copies").mkdir(parents=True)
    (left / "copies/file").write_bytes(b"half")
    (tree.folder / "kept").chmod(0o700)
    did = taken(tree)
    assert did.event("temporary.removed")["target"] == str(left)
    assert not left.exists()


def test_a_full_destination_keeps_what_was_there(tree):
    """With no room for the copy nothing is begun, the need is told in numbers, and older snapshots stay."""
    tree.log("a.csv")
    if os.geteuid() != 0:
        pytest.skip("mounting takes root: sudo make test")
    small = tree.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", small], check=True)
    try:
        tree.write_config(JOB.replace("HERE/kept", "HERE/small"))
        taken(tree)
        before = sorted(path.name for path in small.iterdir())
        database(tree.logs / "a.db", 60_000)
        tree.log("big.csv", os.urandom(3_000_000))
        did = tree.do()
        assert did.code in {1, 5}
        assert any("are free" in event["error_msg"] for event in did.events("backup.failed"))
        assert sorted(path.name for path in small.iterdir()) == before
    finally:
        subprocess.run(["umount", small], check=True)


def test_a_destination_that_is_not_mounted_is_none(tree):
    """Where snapshots of the set were stored and none is any more nothing is stored, as on the disk below a mount;
    that says how one begins anew there."""
    tree.log("a.csv")
    taken(tree)
    taken(tree)
    shutil.rmtree(tree.folder / "kept")
    (tree.folder / "kept").mkdir(0o700)
    did = tree.do()
    assert did.code == 1
    failed = did.event("backup.failed")
    assert "no snapshot of app is there any more" in failed["error_msg"]
    assert snapshots(tree) == []
    Path(failed["advice"].rpartition("rmdir ")[2]).rmdir()
    taken(tree)


def test_another_users_database_is_copied_as_that_user(tree):
    """Nothing of root's is left beside a service's database, and its owner keeps it; an invariant may sort more of the
    copy than SQLite's cache holds."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    tree.folder.chmod(0o755)
    path = database(tree.logs / "a.db", 200_000)
    for one in (tree.logs, path):
        os.chown(one, NOBODY, NOBODY)
    query = "SELECT note FROM trades GROUP BY note || price HAVING count(*) > 1"
    tree.write_config(JOB + f'[backup.app.invariants]\n"LOGS/*.db" = ["{query}"]\n')
    assert taken(tree).event("database.copied")["invariants"] == 1
    assert {one.stat().st_uid for one in tree.logs.iterdir()} == {NOBODY}
    assert manifest(snapshots(tree)[0])["entries"][0]["uid"] == NOBODY


def test_a_destination_that_others_can_write_is_refused(tree):
    """Who could exchange a snapshot could have root restore anything: such a destination is a failure."""
    if os.geteuid() != 0:
        pytest.skip("another user's directory takes root: sudo make test")
    (tree.folder / "kept").mkdir()
    os.chown(tree.folder / "kept", NOBODY, NOBODY)
    tree.log("a.csv")
    did = tree.do()
    assert did.code == 1
    assert "nobody could change snapshots there" in did.event("backup.failed")["error_msg"]


def test_plan_shows_what_do_does(tree):
    """The steps that are shown are those that are done, in order."""
    database(tree.logs / "a.db")
    tree.log("a.csv")
    steps = [(step["verb"], step["target"]) for step in tree.plan() if step["step"] == "action"]
    done = [(one["verb"], one["target"]) for one in taken(tree).messages if one["type"] == "step"]
    assert [verb for verb, _ in steps] == ["copy", "store"] == [verb for verb, _ in done]
    assert steps[0] == done[0]
