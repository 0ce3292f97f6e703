"""Restoring: into a directory, in place so that it can be undone, and what is refused."""

import contextlib
import json
import os
import re
import shutil  # noqa: TID251 - to copy a snapshot as a person would
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .conftest import environment, until
from .test_backup import JOB, at, database, manifest, rewrite, rows_of, snapshots, taken
from .tree import MAINTD, NOBODY, Tree, files


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def state(tree: Tree) -> dict[str, bytes]:
    """All files of the services, byte for byte, aside ones apart."""
    return {str(path): path.read_bytes() for path in files(tree.logs) if ".maintd-aside" not in str(path)}


def write(path: Path, rows: int) -> None:
    with contextlib.closing(sqlite3.connect(path)) as found:
        found.execute("DELETE FROM trades")
        found.executemany("INSERT INTO trades VALUES (?, 0, '')", ((n,) for n in range(rows)))
        found.commit()


def restored(tree: Tree, *arguments: str) -> None:
    done = tree.run("restore", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def refused(tree: Tree, *arguments: str) -> str:
    done = tree.run("restore", *arguments)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def site(tree: Tree) -> Tree:
    """A database of 100 rows and a file, of which there is a snapshot; by now the database has 5 rows."""
    path = database(tree.logs / "a.db")
    tree.log("p.csv", b"first\n")
    taken(tree)
    write(path, 5)
    tree.log("p.csv", b"second\n")
    return tree


def test_into_a_directory(site):
    """--to makes a directory with the files as they were, with mode and time; nothing else is touched. What is missing
    above it is made, for nobody else to enter."""
    before = state(site)
    out = site.folder / "some/more/out"
    restored(site, "app", "--to", str(out))
    assert [(site.folder / name).stat().st_mode & 0o777 for name in ("some", "some/more")] == [0o700] * 2
    assert len(rows_of(at(out, site.logs / "a.db"))) == 100
    assert at(out, site.logs / "p.csv").read_bytes() == b"first\n"
    assert state(site) == before
    assert "not an empty directory" in refused(site, "app", "--to", str(out))


def test_into_a_directory_by_a_link(site):
    """A link above the directory is followed, as /home often is one; one in its place is refused at once."""
    (site.folder / "real").mkdir()
    (site.folder / "link").symlink_to(site.folder / "real")
    restored(site, "app", "--to", f"{site.folder}/link/out")
    assert at(site.folder / "real/out", site.logs / "p.csv").read_bytes() == b"first\n"
    (site.folder / "real/empty").mkdir()
    (site.folder / "other").symlink_to(site.folder / "real/empty")
    said = refused(site, "app", "--to", f"{site.folder}/other")
    assert "is a symbolic link" in said
    assert "verify" not in said


def test_where_paths_are_long(tree):
    """A path may be longer than a name can be: files are restored in place, and into a directory, deep below."""
    deep = "/".join(["d" * 100] * 3)
    log = tree.log(f"{deep}/p.csv", b"first\n")
    tree.write_config(JOB.replace("LOGS/*.csv", f"LOGS/{deep}/*.csv"))
    taken(tree)
    log.write_bytes(b"second\n")
    restored(tree, "app", "--in-place")
    assert log.read_bytes() == b"first\n"
    restored(tree, "app", "--undo")
    assert log.read_bytes() == b"second\n"
    restored(tree, "app", "--to", str(log.with_name("out")))
    assert at(log.with_name("out"), log).read_bytes() == b"first\n"
    assert tree.temporaries() == []


def test_where_names_are_long(tree):
    """Names of up to 255 bytes, of databases as long as SQLite can have them, are restored in place and put back, and
    what was written since is kept."""
    log = tree.log("l" * 251 + ".csv", b"first\n")
    path = database(tree.logs / ("b" * 242 + ".db"))
    taken(tree)
    write(path, 5)
    log.write_bytes(b"second\n")
    before = state(tree)
    restored(tree, "app", "--in-place")
    log.write_bytes(b"third\n")
    write(path, 6)
    restored(tree, "app", "--undo")
    assert state(tree) == before
    (aside,) = tree.logs.glob(".*aside")
    assert b"third\n" in {one.read_bytes() for one in aside.iterdir()}
    restored(tree, "app", "--forget")


def test_what_hardly_compresses_comes_back(tree):
    """A block of a pack that is longer than what is read at a time gives nothing at first, which is not its end."""
    noise = os.urandom(3 << 20).translate(bytes(byte & 0x7F for byte in range(256)))
    tree.log("noise.csv", noise)
    taken(tree)
    restored(tree, "app", "--to", f"{tree.folder}/out")
    assert at(tree.folder / "out", tree.logs / "noise.csv").read_bytes() == noise


def test_only_what_is_named(site):
    """--only takes a file, a directory or a pattern."""
    restored(site, "app", "--to", f"{site.folder}/out", "--only", f"{site.logs}/*.csv")
    assert [path.name for path in files(site.folder / "out")] == ["p.csv"]
    assert "has nothing of" in refused(site, "app", "--to", f"{site.folder}/no", "--only", "/nothing")


def test_the_output_of_a_command(site):
    """It is named as the config has it, or the manifest, and restored into a directory; it has no place of its own, so
    that a restore in place says that it is left out, and how it is brought, and is refused if that is all."""
    site.write_config(JOB + '[backup.app.commands]\n"orders.sql" = ["/bin/echo", "dump"]\n')
    taken(site)
    for number, only in enumerate(("orders.sql", "commands/orders.sql", "commands/")):
        restored(site, "app", "--to", f"{site.folder}/out{number}", "--only", only)
        (found,) = files(site.folder / f"out{number}")
        assert found.read_text() == "dump\n"
    (label,) = (one.name.replace("app.", "app@") for one in snapshots(site)[-1:])
    said = refused(site, "app", "--in-place", "--only", "orders.sql")
    assert f"what --only names in {label} is output of commands, which has no place: orders.sql" in said
    assert f"maintd restore {label} --only orders.sql --to DIR" in said
    done = site.run("restore", "app", "--in-place")
    assert done.returncode == 0
    assert "not restored, as commands have put it out: orders.sql" in done.stderr
    site.write_config(f'{JOB.partition("databases")[0]}[backup.app.commands]\na = ["/bin/echo"]\nb = ["/bin/echo"]\n')
    taken(site)
    assert site.run("restore", "app", "--forget").returncode == 0
    said = refused(site, "app", "--in-place")
    assert "has is output of commands, which has no place: a, b" in said
    assert "--only commands/ --to DIR" in said


def test_an_older_snapshot_by_its_stamp(site):
    """SET@STAMP names one; without a stamp it is the newest that is verified."""
    taken(site)
    old, _ = snapshots(site)
    restored(site, f"app@{old.name.partition('.')[2]}", "--to", f"{site.folder}/old")
    restored(site, "app", "--to", f"{site.folder}/new")
    counts = [len(rows_of(at(site.folder / name, site.logs / "a.db"))) for name in ("old", "new")]
    assert counts == [100, 5]
    assert "there is no snapshot" in refused(site, "app@20200101T000000Z", "--to", f"{site.folder}/none")


def test_newer_snapshots_that_are_passed_over_are_told(site):
    """Who restores the newest that is verified is told which newer ones there are, why they do not count, and how one
    is taken all the same; so is who has none that is verified."""
    old = snapshots(site)[0]
    site.write_config(JOB + '[backup.app.commands]\n"bad" = ["/bin/false"]\n')
    assert site.do().code == 5
    (lacking,) = set(snapshots(site)) - {old}
    stamp = lacking.name.partition(".")[2]
    done = site.run("restore", "app", "--in-place", "--plan")
    assert f"1 newer snapshot was passed over: app@{stamp} (it lacks 1 source: bad)" in done.stderr
    assert f"app@{stamp} takes what is in the newest of them" in done.stderr
    restored(site, "app", "--to", f"{site.folder}/out")
    assert len(rows_of(at(site.folder / "out", site.logs / "a.db"))) == 100
    done = site.run("restore", f"app@{stamp}", "--to", f"{site.folder}/new")
    assert done.returncode == 0
    assert "passed over" not in done.stderr
    assert len(rows_of(at(site.folder / "new", site.logs / "a.db"))) == 5
    shutil.rmtree(old)
    assert f"app@{stamp} takes" in refused(site, "app", "--to", f"{site.folder}/none")


def test_in_place_and_undone(site):
    """In place the files are those of the snapshot; --undo brings back what was there, byte for byte."""
    before = state(site)
    restored(site, "app", "--in-place")
    assert len(rows_of(site.logs / "a.db")) == 100
    assert (site.logs / "p.csv").read_bytes() == b"first\n"
    restored(site, "--undo")
    assert state(site) == before
    assert "no restore of app in place" in refused(site, "app", "--undo")
    assert "restores in place of: none" in refused(site, "--undo")
    assert "which set?" in refused(site, "--in-place")


def test_a_stale_wal_does_not_survive(site):
    """The write-ahead log that lies there is kept aside: the restored database is exactly the snapshot's."""
    path = site.logs / "a.db"
    keep = sqlite3.connect(path)
    keep.execute("INSERT INTO trades VALUES (777, 7, 'in the wal')")
    keep.commit()
    wal, shm = (Path(f"{path}{suffix}").read_bytes() for suffix in ("-wal", "-shm"))
    keep.close()
    Path(f"{path}-wal").write_bytes(wal)
    Path(f"{path}-shm").write_bytes(shm)
    before = state(site)
    restored(site, "app", "--in-place")
    assert not Path(f"{path}-wal").exists()
    assert len(rows_of(path)) == 100
    restored(site, "app", "--undo")
    assert state(site) == before


def test_what_cannot_be_put_back_is_told_with_why_it_failed(site):
    """If a check fails and has left a process that has the database open, both are said, and that --undo is what
    follows; which works once that process is gone."""
    leave = f"exec 9<>{site.logs}/a.db; sleep 600 & echo $! > HERE/pid; exit 1"
    site.write_config(JOB + f'checks = [["/bin/sh", "-c", "{leave}"]]\n')
    taken(site)
    write(site.logs / "a.db", 1)
    before = state(site)
    said = refused(site, "app", "--in-place")
    pid = int((site.folder / "pid").read_text())
    assert "the check /bin/sh ended with 1" in said
    assert f"(pid {pid})" in said.partition("a.db is open in ")[2]
    assert "maintd restore app --undo" in said
    os.kill(pid, signal.SIGKILL)
    until(lambda: not Path(f"/proc/{pid}/fd/9").exists(), "it is gone")
    restored(site, "app", "--undo")
    assert state(site) == before


MAKING = """
import os, sqlite3, sys
made = sqlite3.connect(sys.argv[1], isolation_level=None)
made.execute("PRAGMA journal_mode = WAL")
made.execute("CREATE TABLE theirs (n)")
made.execute("INSERT INTO theirs VALUES (1)")
os._exit(0)
"""
"""A service that makes its table in an empty database, and is killed: all of it is in the write-ahead log."""


@pytest.mark.parametrize("when", ["before the restore", "after it"])
def test_what_became_a_database_comes_back_with_its_wal(tree, when):
    """A file that was empty in the snapshot, and is a database by now: its write-ahead log goes aside with it, and
    comes back with it; one that it has got after the restore does not stay beside what is put back."""
    path = tree.log("a.db", b"")
    taken(tree)
    make = [sys.executable, "-c", MAKING, str(path)]
    if when == "before the restore":
        subprocess.run(make, check=True)
    before = state(tree)
    restored(tree, "app", "--in-place")
    assert state(tree) == {str(path): b""}
    if when == "after it":
        subprocess.run(make, check=True)
    restored(tree, "app", "--undo")
    assert state(tree) == before
    if when == "before the restore":
        with contextlib.closing(sqlite3.connect(path)) as found:
            assert found.execute("SELECT n FROM theirs").fetchall() == [(1,)]


ADDING = """
import os, sqlite3, sys
found = sqlite3.connect(sys.argv[1], isolation_level=None)
found.execute("PRAGMA journal_mode = WAL")
found.execute("CREATE TABLE others (n)")
os._exit(0)
"""


def test_a_restored_database_that_was_removed_leaves_no_log_beside_what_comes_back(site):
    """Whoever does not like what was restored, and removes it before --undo, gets the old state and not its log."""
    before = state(site)
    restored(site, "app", "--in-place")
    subprocess.run([sys.executable, "-c", ADDING, str(site.logs / "a.db")], check=True)
    assert (site.logs / "a.db-wal").stat().st_size
    (site.logs / "a.db").unlink()
    restored(site, "app", "--undo")
    assert state(site) == before
    assert len(rows_of(site.logs / "a.db")) == 5


def test_the_wal_of_an_encrypted_database_comes_back(tree):
    """Whatever has taken the names of what was set aside with a file: an empty write-ahead log of its service's, or a
    directory."""
    path = tree.log("a.csv", b"nothing that anybody could read")
    taken(tree)
    tree.log("a.csv-wal", b"\x37\x7f\x06\x82 and its pages")
    tree.log("a.csv-shm", b"its index")
    before = state(tree)
    restored(tree, "app", "--in-place")
    assert list(state(tree)) == [str(path)]
    tree.log("a.csv-wal", b"")
    tree.log("a.csv-shm/made", b"by somebody")
    restored(tree, "app", "--undo")
    assert state(tree) == before
    assert [path.read_bytes() for path in tree.logs.glob(".*/*.undone/made")] == [b"by somebody"]


def test_a_journal_that_is_in_the_snapshot_is_restored(tree):
    """A file that is called as SQLite calls its journal is one like others, if the snapshot has it, and so is what lies
    in a directory that is called so; one that is no journal, and in no snapshot, stays where it is, and so does such a
    directory."""
    tree.write_config(JOB.replace("LOGS/*.csv", "LOGS/**/n*"))
    names = ("n.csv", "notes", "notes-journal", "notes-wal", "n.csv-journal/n")
    for name in names:
        tree.log(name, b"first\n")
    taken(tree)
    for name in (*names, "notes-shm", "n.csv-wal/notes"):
        tree.log(name, b"second\n")
    before = state(tree)
    restored(tree, "app", "--in-place")
    others = [path for path, content in state(tree).items() if content != b"first\n"]
    assert sorted(others) == [str(tree.logs / name) for name in ("n.csv-wal/notes", "notes-shm")]
    restored(tree, "app", "--undo")
    assert state(tree) == before


@pytest.mark.parametrize("name", ["a.db", "a.db-wal"])
def test_while_somebody_has_it_open_it_is_refused(site, name):
    """A database that any process has open is not replaced, and the refusal names the process; nor is one that was
    removed under it, while it has the write-ahead log open."""
    if name != "a.db":
        site.log(name, b"\x37\x7f\x06\x82 and its pages")
        (site.logs / "a.db").unlink()
    before = state(site)
    with (site.logs / name).open("rb") as file, subprocess.Popen(["sleep", "60"], stdin=file) as holder:
        said = refused(site, "app", "--in-place")
        holder.kill()
    assert f"sleep (pid {holder.pid})" in said
    assert state(site) == before


@pytest.mark.parametrize("what", ["a.db", "p.csv"])
def test_what_proc_may_not_show_is_asked_of_the_kernel(site, what):
    """Without the right to look into other users' processes a database that one of them has open, or a file that it may
    write, is not replaced either."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    before = state(site)
    flags = os.O_RDONLY if what == "a.db" else os.O_WRONLY
    descriptor = os.open(site.logs / what, flags)
    other = subprocess.Popen(["sleep", "60"], stdin=descriptor, user=NOBODY, group=NOBODY, extra_groups=[])
    os.close(descriptor)
    try:
        done = site.run("restore", "app", "--in-place", powerless=True)
    finally:
        other.kill()
        other.wait()
    assert f"{what} is open in a process that maintd may not look into" in done.stderr
    assert done.returncode == 1
    assert state(site) == before
    assert site.run("restore", "app", "--in-place", powerless=True).returncode == 0


@pytest.mark.parametrize("mode", [0o666, 0o600])
def test_where_nobody_can_say_whether_it_is_open_it_is_refused(site, mode):
    """Of another user's file, without a lease and without the right to look into his processes, nothing is guessed."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    os.chown(site.logs / "a.db", NOBODY, NOBODY)
    (site.logs / "a.db").chmod(mode)
    before = state(site)
    done = site.run("restore", "app", "--in-place", powerless=True)
    assert ("CAP_SYS_PTRACE" in done.stderr) == (mode == 0o666)
    assert "open in another process" in done.stderr or "has it open cannot be known" in done.stderr
    assert done.returncode == 1
    assert state(site) == before


def test_a_failing_check_puts_everything_back(site):
    """If a check of the set fails after the restore, the state of before is back, byte for byte."""
    site.write_config(JOB + 'checks = [["/bin/false"]]\n')
    taken(site)
    write(site.logs / "a.db", 1)
    before = state(site)
    assert "the check /bin/false ended with 1" in refused(site, "app", "--in-place")
    assert state(site) == before
    assert not list((site.folder / "state/restores").iterdir())


RENAMING = """
import os, sqlite3, sys
folder = sys.argv[1]
with open(f"{folder}/p.tmp", "w") as file:
    file.write("theirs\\n")
os.rename(f"{folder}/p.tmp", f"{folder}/p.csv")
new = sqlite3.connect(f"{folder}/new")
new.execute("PRAGMA journal_mode = WAL")
new.execute("CREATE TABLE theirs (n)")
new.commit()
for suffix in ("-wal", "-shm", ""):
    os.rename(f"{folder}/new{suffix}", f"{folder}/a.db{suffix}")
os._exit(1)
"""
"""A program that replaces its files as many do, by another one that it renames."""


@pytest.mark.parametrize("when", ["before --undo", "during a check that fails"])
def test_a_program_that_replaced_its_file_meanwhile(site, when):
    """What a program has renamed into the place of a restored file is kept aside, with its write-ahead log, and all is
    put back as it was: by --undo, and if the restore fails."""
    argv = [sys.executable, "-c", RENAMING, str(site.logs)]
    if when == "before --undo":
        before = state(site)
        restored(site, "app", "--in-place")
        assert subprocess.run(argv, check=False).returncode == 1
        restored(site, "app", "--undo")
    else:
        site.write_config(JOB + f"checks = [{json.dumps(argv)}]\n")
        taken(site)
        write(site.logs / "a.db", 1)
        before = state(site)
        said = refused(site, "app", "--in-place")
        assert "ended with 1" in said
        assert ".maintd-aside" in said
    assert state(site) == before
    (aside,) = site.logs.glob(".*aside")
    assert (aside / "p.csv.undone").read_bytes() == b"theirs\n"
    assert {"a.db.undone", "a.db-wal.undone"} <= set(os.listdir(aside))


def test_a_plan_changes_nothing(site):
    """--plan shows each step, those of an undo too, and nothing is changed."""
    before = state(site)
    done = site.run("restore", "app", "--in-place", "--plan")
    assert done.returncode == 0
    verbs = [line.split()[0] for line in done.stdout.splitlines()[1:]]
    assert verbs == ["verify", "note", "unpack", "check", "look", "replace", "replace", "keep"]
    assert state(site) == before


def test_a_file_system_that_has_another_device_number_by_now(site):
    """As after a reboot, of network file systems for example: what was not there before a restore in place goes with
    its --undo, and nothing that was there is said to be lost."""
    (site.logs / "p.csv").unlink()
    before = state(site)
    restored(site, "app", "--in-place")
    note = site.folder / "state/restores/app.json"
    known = json.loads(note.read_text())
    for item in known["items"]:
        for inode in filter(None, (item["old"], item["new"])):
            inode[0] += 1
    note.write_text(json.dumps(known))
    restored(site, "app", "--undo")
    assert state(site) == before


@pytest.mark.parametrize("what", ["a file", "all"])
def test_what_was_aside_and_is_gone(site, what):
    """If somebody has deleted what a restore has kept aside, --undo moves nothing and names what is missing: what was
    restored stays, and --forget ends it."""
    restored(site, "app", "--in-place")
    after = state(site)
    (aside,) = site.logs.glob(".*aside")
    if what == "all":
        shutil.rmtree(aside)
    else:
        (aside / "p.csv").unlink()
    said = refused(site, "app", "--undo")
    assert f"{site.logs}/p.csv" in said
    assert (f"{site.logs}/a.db" in said) == (what == "all")
    assert "--forget" in said
    assert state(site) == after
    assert "can still be undone" in refused(site, "app", "--in-place")
    restored(site, "app", "--forget")
    assert state(site) == after
    restored(site, "app", "--in-place")


def test_a_directory_that_is_a_link_by_now_leaves_nothing_stuck(tree):
    """A restore in place that fails before anything was moved, for a directory of the set is a link by now, is put back
    by itself. What one leaves that is killed there ends with --undo, and with --forget."""
    tree.write_config(JOB.replace("LOGS/*.csv", "LOGS/**/*.csv"))
    sub = tree.log("sub/p.csv", b"first\n").parent
    tree.log("p.csv", b"first\n")
    taken(tree)
    shutil.rmtree(sub)
    (tree.folder / "elsewhere").mkdir()
    sub.symlink_to(tree.folder / "elsewhere")
    log = tree.log("p.csv", b"second\n")
    said = refused(tree, "app", "--in-place")
    assert "symbolic link" in said
    assert "everything was put back" in said
    note = tree.folder / "state/restores/app.json"
    assert not note.exists()
    for way in ("--undo", "--forget"):
        item = {"path": f"{sub}/p.csv", "fresh": f"{sub}/x.maintd-tmp", "aside": f"{sub}/.app.maintd-aside"}
        item |= {"new": None, "old": None, "is_database": False}
        known = {"set": "app", "snapshot": "app@x", "phase": "unpacking", "items": [item], "programs": [], "paused": ""}
        note.write_text(json.dumps(known))
        restored(tree, "app", way)
        assert not note.exists()
    restored(tree, "app", "--in-place", "--only", str(log))
    assert log.read_bytes() == b"first\n"
    assert list((tree.folder / "elsewhere").iterdir()) == []


def test_a_backup_takes_nothing_away_from_a_restore(site):
    """What a restore has brought from elsewhere stays while its note says that it unpacks; after that the next backup
    removes what is left."""
    restored(site, "app", "--in-place")
    restored(site, "app", "--undo")
    note = site.folder / "state/restores/app.json"
    known = {"set": "app", "snapshot": "app@x", "phase": "unpacking", "items": [], "programs": [], "paused": ""}
    note.write_text(json.dumps(known))
    brought = site.folder / "state/stores/app.restore.maintd-tmp"
    brought.mkdir(parents=True)
    assert site.do().code == 0
    assert brought.exists()
    restored(site, "app", "--undo")
    assert site.do().code == 0
    assert not brought.exists()


def killed_half_way(tree: Tree) -> None:
    """Leaves a restore in place that was killed when the files had been replaced, and the checks were not done."""
    there = tree.folder / "there"
    command = [str(MAINTD), "-c", str(tree.config), "restore", "app", "--in-place"]
    with subprocess.Popen(command, env=environment(), stderr=subprocess.DEVNULL) as process:
        until(there.exists, "its check runs")
        process.kill()


WAITING = 'checks = [["/bin/sh", "-c", "touch HERE/there; exec sleep 60"]]\n'


def test_what_is_half_restored_is_not_backed_up(site):
    """After a restore in place that was killed no snapshot is taken of the mixture, and none is deleted: the one that
    it came from least of all. Once it was put back, backups go on. What is aside is not deleted as long as there is
    nothing else of it."""
    site.write_config(JOB + "keep = 1\n" + WAITING)
    taken(site)
    kept = snapshots(site)
    write(site.logs / "a.db", 7)
    now = state(site)
    killed_half_way(site)
    assert len(rows_of(site.logs / "a.db")) == 5
    did = site.do()
    assert did.code == 1
    failed = did.event("backup.failed")
    assert "in place is not done, or was cut off" in failed["error_msg"]
    assert "maintd restore app --undo" in failed["advice"]
    assert snapshots(site) == kept
    (aside,) = site.logs.glob(".*aside")
    away = [(aside / "p.csv", site.folder / "p.csv"), (site.logs / "a.db", site.folder / "a.db")]
    for path, other in away:
        path.rename(other)
    assert f"the only copy of {site.logs}/a.db" in refused(site, "app", "--forget")
    for path, other in away:
        other.rename(path)
    restored(site, "app", "--undo")
    assert state(site) == now
    taken(site)
    assert snapshots(site) != kept


def test_a_set_with_files_of_one_that_is_half_restored_is_not_backed_up_either(site):
    """The mixture is no sound state in whatever set it is; one that has none of these files is backed up as ever."""
    others = "".join(
        f'[backup.{name}]\nevery = "1d"\ndestination = "HERE/{name}"\nfiles = [{files}]\n'
        for name, files in (("all", '"LOGS/*.csv", "LOGS/*.db"'), ("apart", '"LOGS/x.txt"'))
    )
    site.log("x.txt")
    site.write_config(JOB + WAITING + others)
    taken(site)
    write(site.logs / "a.db", 7)
    killed_half_way(site)
    did = site.do("backup.all", "backup.apart")
    assert did.event("backup.failed")["target"] == "the set all"
    assert "maintd restore app --undo" in did.event("backup.failed")["advice"]
    assert [len(list((site.folder / name).glob(f"{name}.*"))) for name in ("all", "apart")] == [1, 2]
    restored(site, "app", "--undo")
    assert site.do("backup.all").code == 0


@pytest.mark.parametrize("what", ["pack", "manifest", "sums"])
def test_a_changed_snapshot_is_found(site, what):
    """A flipped byte in a pack, or a manifest that was edited by hand, is found before anything is written."""
    (snapshot,) = snapshots(site)
    path = {"pack": next(snapshot.glob("*.tar.zst")), "manifest": snapshot / "manifest.json"}.get(
        what, snapshot / "CONTENTS.sha256"
    )
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    said = refused(site, "app", "--to", f"{site.folder}/out")
    assert re.search("is not what it was|cannot be read|no verified", said)
    assert not (site.folder / "out").exists()


def test_a_snapshot_of_a_newer_maintd_is_refused(site):
    """A manifest of a newer format is not guessed at; restore and drill say which maintd can read it."""
    (snapshot,) = snapshots(site)
    path = snapshot / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b'"format": 3', b'"format": 4'))
    stamp = snapshot.name.partition(".")[2]
    said = refused(site, f"app@{stamp}", "--to", f"{site.folder}/out")
    assert "has format 4" in said
    assert "or a newer one" in said
    site.write_config(JOB + '[drill.app]\ncron = "@weekly"\nset = "app"\ndestination = "HERE/kept"\n')
    assert "or a newer one" in site.do("drill.app").events("drill.failed")[0]["advice"]
    assert site.run("backups", "app").returncode == 3


def test_without_the_config_from_anywhere(site):
    """A new machine needs the snapshots alone: --in names their directory."""
    shutil.copytree(site.folder / "kept", site.folder / "usb")
    shutil.rmtree(site.folder / "kept")
    site.config.unlink()
    restored(site, "app", "--in", f"{site.folder}/usb", "--to", f"{site.folder}/out")
    assert len(rows_of(at(site.folder / "out", site.logs / "a.db"))) == 100


def test_backups_lists_them(site):
    """Each snapshot with its age, files and sizes; the exit code says whether each set has a verified one."""
    done = site.run("backups")
    assert done.returncode == 0
    assert snapshots(site)[0].name.replace(".", "@") in done.stdout
    site.write_config(JOB + JOB.replace("backup.app", "backup.other"))
    assert site.run("backups").returncode == 3
    assert "there is no set 'none'" in site.run("backups", "none").stderr


def test_an_earlier_restore_must_be_settled_first(site):
    """Two restores in place of one set cannot both be undone: the second waits for --undo or --forget."""
    restored(site, "app", "--in-place")
    assert "can still be undone" in refused(site, "app", "--in-place")
    restored(site, "app", "--forget")
    assert not list(site.logs.glob(".*aside"))
    restored(site, "app", "--in-place")


def test_what_is_left_after_an_undo_can_be_forgotten(site):
    """`backups` says what is kept aside, of a restore that can be undone and of one that was; --forget deletes it, and
    then there is nothing to forget. What was written between is not lost before that, nor in the way of another
    restore."""
    assert "nothing of app is kept aside" in refused(site, "app", "--forget")
    restored(site, "app", "--in-place")
    assert "was restored in place: maintd restore app --undo" in site.run("backups").stdout
    write(site.logs / "a.db", 3)
    restored(site, "--undo")
    (aside,) = site.logs.glob(".*aside")
    assert f"{aside} is left of a restore that was undone: maintd restore app --forget" in site.run("backups").stdout
    assert len(rows_of(aside / "a.db.undone")) == 3
    assert taken(site).event("snapshot.stored")["files"] == 2
    restored(site, "app", "--in-place")
    restored(site, "app", "--undo")
    assert len(list(site.logs.glob(".*aside"))) == 2
    assert site.run("restore", "--forget", "--plan").stdout.count("would delete") == 2
    restored(site, "--forget")
    assert not list(site.logs.glob(".*aside"))
    assert not list((site.folder / "state/restores").iterdir())
    assert "aside" not in site.run("backups").stdout


def test_a_restore_that_there_is_no_room_for(tree):
    """It ends with what a person can do about a restore, not about a backup, and leaves nothing behind."""
    if os.geteuid() != 0:
        pytest.skip("mounting takes root: sudo make test")
    tree.log("p.csv", bytes(3 << 20))
    taken(tree)
    small = tree.folder / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", small], check=True)
    try:
        said = refused(tree, "app", "--to", f"{small}/out")
        assert list(small.iterdir()) == []
    finally:
        subprocess.run(["umount", small], check=True)
    assert "there is no room for it" in said
    assert "--only" in said
    assert "keep" not in said


@pytest.mark.parametrize("says", [True, False])
def test_directories_come_back_as_they_were(tree, says):
    """A directory that is gone is made again with the owner and mode that it had, also one above: what it protected
    stays protected, and its service can write. Of an older snapshot that does not say so it is told."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    (tree.logs / "own/in").mkdir(parents=True)
    path = database(tree.logs / "own/in/a.db")
    for one, mode in ((path, 0o644), (path.parent, 0o750), (path.parent.parent, 0o700)):
        os.chown(one, NOBODY, NOBODY)
        one.chmod(mode)
    tree.write_config(JOB.replace("LOGS/*.db", "LOGS/own/in/*.db"))
    taken(tree)
    if not says:
        (snapshot,) = snapshots(tree)
        known = manifest(snapshot)
        del known["directories"]
        rewrite(snapshot, known | {"format": 1})
    shutil.rmtree(tree.logs / "own")
    done = tree.run("restore", "app", "--in-place")
    assert done.returncode == 0, done.stderr
    found = [(one.stat().st_mode & 0o7777, one.stat().st_uid) for one in (path.parent, path.parent.parent)]
    assert found == ([(0o750, NOBODY), (0o700, NOBODY)] if says else [(0o755, 0), (0o755, 0)])
    assert ("does not say whose it was" in done.stderr) == (not says)


def test_owners_and_modes_come_back(tree):
    """As root a file gets the owner and mode it had, and another user's database is checked as that user."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    tree.folder.chmod(0o755)
    path = database(tree.logs / "a.db")
    path.chmod(0o640)
    for one in (tree.logs, path):
        os.chown(one, NOBODY, NOBODY)
    taken(tree)
    os.chown(path, 0, 0)
    restored(tree, "app", "--in-place")
    info = path.stat()
    assert (info.st_uid, info.st_gid, info.st_mode & 0o7777) == (NOBODY, NOBODY, 0o640)
    assert manifest(snapshots(tree)[0])["entries"][0]["owner"] == "nobody"


def of_a_service(tree: Tree, *, own: bool = True) -> Path:
    """A database of a user who is not root, for him alone, in a directory of his, or in one of a group's."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    tree.folder.chmod(0o755)
    path = tree.logs / "a.db"
    path = path if path.exists() else database(path)
    path.chmod(0o600)
    os.chown(path, NOBODY, NOBODY)
    os.chown(tree.logs, *((NOBODY, NOBODY) if own else (1, 1)))
    tree.logs.chmod(0o700 if own else 0o770)
    return path


@pytest.mark.parametrize("own", [True, False])
def test_a_database_of_a_service_is_restored_anywhere(tree, own):
    """Root restores another user's database into a directory of root's, and in place, also where the directory is not
    its owner's."""
    path = of_a_service(tree, own=own)
    taken(tree)
    restored(tree, "app", "--to", f"{tree.folder}/out")
    assert len(rows_of(at(tree.folder / "out", path))) == 100
    restored(tree, "app", "--in-place")
    assert len(rows_of(path)) == 100
    assert path.stat().st_uid == NOBODY


LURKING = """
import os, sys, time
top, below, user = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgroups([])
os.setgid(user)
os.setuid(user)  # here, since the interpreter may lie where only root may go
os.umask(0)
print("ready", flush=True)
while True:
    time.sleep(0.01)
    try:
        os.makedirs(f"{top}/{below}")
    except OSError:
        pass
    for directory, _, names in os.walk(top):
        for name in names:
            try:
                open(f"{directory}/{name}", "rb").read()
                print(name, flush=True)
            except OSError:
                pass
"""
"""Another user, who makes the directory into which is unpacked before maintd does, and reads what comes there."""


@contextlib.contextmanager
def lurking(top: Path, below: str) -> Iterator[list[str]]:
    """Beside him; in the end, what he has read."""
    read: list[str] = []
    argv = [sys.executable, "-IS", "-c", LURKING, str(top), below, str(NOBODY)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        yield read
        process.kill()
        read += process.stdout.read().splitlines()


def test_nobody_else_owns_what_is_restored_in_a_directory_for_everybody(site):
    """With --to in a sticky directory, such as /tmp, the one into which is unpacked is root's, whoever would like to
    have made it: nothing is read by him, and nothing restored is his. Whose directory is in the way is said, and it
    stays."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    site.folder.chmod(0o755)
    public = site.folder / "public"
    public.mkdir()
    public.chmod(0o1777)
    with lurking(public / "out.maintd-tmp", str(site.logs).lstrip("/")) as read:
        site.run("restore", "app", "--to", f"{public}/out")
    assert read == []
    shutil.rmtree(public / "out.maintd-tmp", ignore_errors=True)
    (public / "out.maintd-tmp/srv").mkdir(parents=True)
    os.chown(public / "out.maintd-tmp", NOBODY, NOBODY)
    said = refused(site, "app", "--to", f"{public}/out")
    assert f"{public}/out.maintd-tmp is in the way: it belongs to nobody" in said
    shutil.rmtree(public / "out.maintd-tmp")
    restored(site, "app", "--to", f"{public}/again")
    for one in public.iterdir():
        assert (one.stat().st_uid, one.stat().st_mode & 0o777) == (0, 0o700)


def test_into_a_directory_of_another_users(site):
    """Root restores below a directory that another user owns, where its work is confined to what it has made."""
    if os.geteuid() != 0:
        pytest.skip("becoming another user takes root: sudo make test")
    (site.folder / "his").mkdir()
    os.chown(site.folder / "his", NOBODY, NOBODY)
    restored(site, "app", "--to", f"{site.folder}/his/out")
    assert len(rows_of(at(site.folder / "his/out", site.logs / "a.db"))) == 100
    assert (site.folder / "his/out").stat().st_uid == 0
