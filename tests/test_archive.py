"""The kind `archive` into a local directory: what moves, under which name, and what the manifest says of it."""

import hashlib
import json
import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintd import config, contexts, inventory, jobs
from maintd.job import Context
from maintd.log import Log
from maintd.runner import Runner
from maintd.runs import Run
from maintd.steps import Action
from maintd.triggers import Asked, Scheduled

from .conftest import snapshot
from .test_expire import mounted, needs_root
from .tree import NOBODY, Did, Tree, content

DAY = 86_400.0
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)


def job(options: str = "", pattern: str = "LOGS/*.csv", to: str = "HERE/archive", name: str = "old") -> str:
    head = f'[archive.{name}]\npaths = ["{pattern}"]\nto = "{to}"\nolder_than = "30d"\ncron = "@daily"\n'
    return f"{head}{options}\n"


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path)
    made.write_config(job())
    return made


def archived(tree: Tree) -> list[str]:
    """What lies in the archive, by name, the manifest apart."""
    root = tree.folder / "archive"
    found = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return sorted(name for name in found if name != inventory.NAME)


def lines(tree: Tree) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (tree.folder / "archive" / inventory.NAME).read_bytes().splitlines()]


def succeeded(did: Did) -> Did:
    assert did.code == 0, did
    return did


def test_an_old_file_is_moved_compressed_and_listed(tree):
    """What is old goes into the archive, with its mode, owner and times; the manifest says all that is to be known."""
    old = tree.log("a.csv", b"a price\n" * 500, age=40 * DAY)
    old.chmod(0o640)
    before = old.stat()
    tree.log("new.csv")
    (event,) = succeeded(tree.do()).events("file.archived")
    assert tree.names() == ["new.csv"]
    stored = tree.folder / "archive/a.csv.zst"
    after = stored.stat()
    assert (after.st_mode, after.st_mtime_ns) == (before.st_mode, before.st_mtime_ns)
    assert content(stored) == b"a price\n" * 500
    (entry,) = lines(tree)
    sha256 = hashlib.sha256(b"a price\n" * 500).hexdigest()
    assert (entry["name"], entry["original"], entry["job"]) == ("a.csv.zst", str(old), "archive.old")
    assert (entry["size"], entry["mode"], entry["mtime_ns"]) == (4000, 0o640, before.st_mtime_ns)
    assert (entry["sha256"], entry["codec"]) == (sha256, "zstd")
    assert entry["stored_sha256"] == hashlib.sha256(stored.read_bytes()).hexdigest()
    assert entry["stored_bytes"] == after.st_size
    assert entry["why"] == event["reason"]
    assert "older than 30d" in event["reason"]
    assert (event["archived_to"], event["sha256"]) == (str(stored), sha256)
    assert tree.do().events() == []


@pytest.mark.parametrize("options", ['compress = "none"', 'compress = "gzip"', ""])
def test_the_plan_says_what_do_does(tree, options):
    """Every file that plan shows is archived under the name that it shows, and plan changes nothing."""
    for name in ("a.csv", "b.csv"):
        tree.log(name, age=40 * DAY)
    tree.write_config(job(options))
    before = snapshot(tree.folder)
    steps = [step for step in tree.plan() if step["step"] == "action"]
    assert [step["verb"] for step in steps] == ["mkdir", "archive", "archive"]
    assert {path: info for path, info in snapshot(tree.folder).items() if b"/run" not in path} == before
    did = succeeded(tree.do())
    events = {event["target"]: event["archived_to"] for event in did.events("file.archived")}
    assert events == {step["target"]: step["detail"] for step in steps if step["verb"] == "archive"}


def test_on_the_same_file_system_a_file_is_renamed(tree):
    """Without compression, and for what is compressed already, it is the same inode that lies in the archive."""
    tree.write_config(job(pattern="LOGS/*"))
    inode = tree.log("a.csv.gz", b"\x1f\x8bnot really", age=40 * DAY).stat().st_ino
    succeeded(tree.do())
    assert (tree.folder / "archive/a.csv.gz").stat().st_ino == inode
    (entry,) = lines(tree)
    assert (entry["codec"], entry["sha256"]) == ("none", entry["stored_sha256"])


def test_of_a_name_as_long_as_can_be_each_version_is_stored(tree):
    """Where a number does not fit behind a name, that is cut off before it; brought back it is whole."""
    tree.write_config(job(pattern="LOGS/*"))
    name = "é" * 127 + "x"
    for number in range(3):
        tree.log(name, b"%d" % number, age=(60 - number) * DAY)
        succeeded(tree.do())
    assert tree.names() == []
    assert sorted(os.fsencode(found)[-6:] for found in archived(tree)) == sorted(
        os.fsencode(found)[-6:] for found in (name, f"{name[:-2]}-1", f"{name[:-2]}-2")
    )
    back = tree.folder / "back"
    assert tree.run("archive", "get", name, "--to", str(back)).returncode == 0
    assert (back / name).read_bytes() == b"2"


@needs_root
@pytest.mark.parametrize("options", ['compress = "none"', "", 'compress = "none"\nkeep_originals = true'])
def test_into_another_mount_of_the_same_file_system_it_is_copied(tree, options):
    """Where one file system is mounted twice nothing can be renamed: the file is copied, and goes then."""
    before = tree.log("a.csv", b"x" * 10_000, age=40 * DAY).stat()
    (tree.folder / "archive").mkdir()
    (tree.folder / "disk").mkdir()
    tree.write_config(job(options))
    with mounted("--bind", tree.folder / "disk", tree.folder / "archive"):
        succeeded(tree.do())
        assert tree.names() == (["a.csv"] if "keep" in options else [])
        (stored,) = archived(tree)
        assert content(tree.folder / "archive" / stored) == b"x" * 10_000
        assert (tree.folder / "archive" / stored).stat().st_mtime_ns == before.st_mtime_ns
        assert tree.do().events("file.archived") == []
        assert tree.run("archive", "verify").returncode == 0


@needs_root
@pytest.mark.parametrize("options", ['compress = "none"', ""])
def test_on_another_file_system_it_is_copied_verified_and_removed(tree, options):
    """Across file systems nothing is lost of mode, times, owner and attributes, and only then the original goes."""
    old = tree.log("a.csv", b"x" * 10_000, age=40 * DAY)
    os.chown(old, 1234, 1235)
    before = old.stat()
    (tree.folder / "archive").mkdir()
    tree.write_config(job(options))
    with mounted("-t tmpfs", Path("none"), tree.folder / "archive"):
        succeeded(tree.do())
        assert tree.names() == []
        (stored,) = archived(tree)
        after = (tree.folder / "archive" / stored).stat()
        assert (after.st_uid, after.st_gid, after.st_mtime_ns) == (1234, 1235, before.st_mtime_ns)
        assert content(tree.folder / "archive" / stored) == b"x" * 10_000


def test_the_relative_path_is_kept(tree):
    """Below the fixed part that all patterns share, or below `base`, a file keeps its path, also in new directories."""
    for name in ("prices/2026/a.csv", "trades/b.csv"):
        tree.log(name, age=40 * DAY)
    tree.write_config(job(pattern='LOGS/prices/**/*.csv", "LOGS/trades/*.csv'))
    succeeded(tree.do())
    assert archived(tree) == ["prices/2026/a.csv.zst", "trades/b.csv.zst"]
    tree.log("prices/2026/c.csv", age=40 * DAY)
    tree.write_config(job('base = "HERE"', pattern="LOGS/prices/**/*.csv"))
    succeeded(tree.do())
    assert "logs/prices/2026/c.csv.zst" in archived(tree)


def test_two_files_of_one_name_both_stay(tree):
    """A name that is taken gets a number: nothing in an archive is ever overwritten, whoever made it."""
    for number in range(3):
        tree.log("a.csv", b"%d\n" % number, age=40 * DAY + number)
        succeeded(tree.do())
    tree.log("b.csv", b"from here", age=40 * DAY)
    (tree.folder / "archive/b.csv.zst").write_bytes(b"somebody else's")
    succeeded(tree.do())
    found = {name: content(tree.folder / "archive" / name) for name in archived(tree)}
    assert found == {
        "a.csv.zst": b"0\n",
        "a.csv-1.zst": b"1\n",
        "a.csv-2.zst": b"2\n",
        "b.csv.zst": b"somebody else's",
        "b.csv-1.zst": b"from here",
    }
    assert [entry["name"] for entry in lines(tree)] == ["a.csv.zst", "a.csv-1.zst", "a.csv-2.zst", "b.csv-1.zst"]


def test_a_copy_and_its_original_beside_each_other_get_two_names(tree):
    """`a.csv` and `a.csv.zst` would be stored under one name: each gets its own."""
    tree.write_config(job(pattern="LOGS/*"))
    tree.log("a.csv", b"plain", age=40 * DAY)
    tree.log("a.csv.zst", b"packed", age=40 * DAY)
    succeeded(tree.do())
    assert len(archived(tree)) == 2
    assert tree.names() == []


def test_a_file_that_is_open_stays(tree):
    """What a process has open, also for reading, is put off, and archived by a later run."""
    old = tree.log("a.csv", age=40 * DAY)
    with old.open("rb"):
        did = tree.do()
    assert (did.code, tree.names(), archived(tree)) == (5, ["a.csv"], [])
    assert not [event for event in did.events() if event["event"].endswith(".failed")]
    succeeded(tree.do())
    assert archived(tree) == ["a.csv.zst"]


def test_a_live_log_is_left_to_its_rotate_job(tree):
    """What a rotate job names is not archived, its compressed generations are; one still to be compressed waits."""
    rotate = '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\n'
    for name in ("a.log", "a.log.20260101T000000Z.zst", "a.log.20260102T000000Z", "a.log.20260102T000000Z.zst"):
        tree.log(name, name.encode(), age=40 * DAY)
    tree.write_config(rotate + job(pattern="LOGS/*.log*"))
    reasons = {Path(step["target"]).name: step["reason"] for step in tree.plan("archive.old")}
    assert "belongs to rotate.all" in reasons["a.log"]
    succeeded(tree.do("archive.old"))
    assert tree.names() == ["a.log", "a.log.20260102T000000Z"]


def test_the_archive_itself_is_never_archived(tree):
    """A pattern that names what lies in the archive takes none of it out again."""
    tree.write_config(job(pattern="HERE/**/*", to="HERE/logs/archive", options='compress = "none"'))
    tree.log("a.csv", age=40 * DAY)
    succeeded(tree.do())
    assert [name for name in tree.names() if "maintd" not in name] == ["archive/logs/a.csv"]
    tree.make_older(tree.logs / "archive/logs/a.csv", 40 * DAY)
    assert [step for step in tree.plan() if step["step"] == "action"] == []


def test_a_torn_last_line_of_the_manifest_is_survived(tree):
    """A line that a crash has torn is passed over; what comes next has a line of its own."""
    tree.log("a.csv", age=40 * DAY)
    succeeded(tree.do())
    path = tree.folder / "archive" / inventory.NAME
    whole = path.read_bytes()
    path.write_bytes(whole + whole[: len(whole) // 2])
    tree.log("b.csv", age=40 * DAY)
    succeeded(tree.do())
    found = inventory.read(str(tree.folder / "archive"))
    assert [entry.name for entry in found.entries.values()] == ["a.csv.zst", "b.csv.zst"]
    assert found.damaged == 1


def an_entry(name: str, original: str) -> inventory.Entry:
    return inventory.Entry(
        name=name, original=original, ino=1, size=1, mtime_ns=1, mode=0, uid=0, gid=0, sha256="", codec="none",
        stored_bytes=1, stored_sha256="", at="", why="", job="",
    )  # fmt: skip


def test_of_a_large_manifest_only_what_is_asked_for_is_kept(tmp_path):
    """Of a thousand lines those of three files, as in all of it: but for what is taken back, or has its name anew."""
    entries = [an_entry(f"{number}", f"/{number}") for number in range(1000)]
    lines = [*(entry.line() for entry in entries), inventory.void(entries[2]), an_entry("3", "/other").line()]
    (tmp_path / inventory.NAME).write_bytes(b"".join(lines))
    whole = inventory.read(str(tmp_path)).entries
    of = {"/1", "/2", "/3"}
    found = inventory.read(str(tmp_path), of=of).entries
    assert (
        [entry for entry in found.values() if entry.original in of]
        == [entries[1]]
        == [entry for entry in whole.values() if entry.original in of]
    )
    assert (len(found), len(whole)) == (2, 999)


def test_what_no_manifest_holds_is_counted_as_damaged(tmp_path):
    """Lines that are JSON but no entry, or of the wrong types, change nothing and are counted."""
    entry = an_entry("a", "/a")
    found = inventory.Manifest()
    wrong = [
        b"7",
        b"[]",
        b"{}",
        b'{"void": true}',
        b"\xff\xfe",
        entry.line().replace(b'"size": 1', b'"size": "1"'),
    ]
    found.take([*wrong, b"\n", entry.line()])
    assert (list(found.entries), found.damaged) == ([("a", "")], 6)
    found.take([inventory.void(entry)])
    assert found.entries == {}


def test_a_copy_that_an_interrupted_run_left_is_compared_and_taken(tree):
    """With the copy made and the original still there, the next run compares them, lists it and goes on."""
    old = tree.log("a.csv", b"same\n" * 100, age=40 * DAY)
    tree.write_config(job('compress = "none"'))
    copy = tree.folder / "archive/a.csv"
    copy.parent.mkdir()
    copy.write_bytes(b"same\n" * 100)
    os.utime(copy, ns=(old.stat().st_mtime_ns,) * 2)
    succeeded(tree.do())
    assert (tree.names(), archived(tree)) == ([], ["a.csv"])
    assert [entry["name"] for entry in lines(tree)] == ["a.csv"]


def test_a_manifest_that_cannot_be_read_stops_the_job_with_its_reason(tree):
    """Without its manifest nothing goes into an archive: names could be given twice."""
    tree.log("a.csv", age=40 * DAY)
    (tree.folder / "archive").mkdir()
    (tree.folder / "archive" / inventory.NAME).symlink_to("/dev/null")
    did = tree.do()
    assert did.code in (1, 5)
    event = did.event("paths.failed")
    assert "manifest" in event["msg"]
    assert tree.names() == ["a.csv"]


def test_names_of_any_bytes_come_back_from_the_manifest(tree):
    """Names with every byte but / and NUL are archived and listed, and the longest a directory can hold too."""
    every = [b"x" + bytes([byte]) + b".csv" for byte in range(1, 256) if byte != ord("/")]
    long = [b"y" * 251 + b".csv", b"z" * 241 + b".csv"]
    for name in (*every, *long):
        tree.log(os.fsdecode(name), name, age=40 * DAY)
    succeeded(tree.do())
    assert tree.names() == []
    found = inventory.read(str(tree.folder / "archive")).entries.values()
    assert {os.fsencode(os.path.basename(entry.original)) for entry in found} == {*every, *long}
    for entry in found:
        stored = tree.folder / "archive" / entry.name
        assert content(stored) == os.fsencode(os.path.basename(entry.original))


def planned(tree: Tree, **ctx: Any) -> list[str]:
    options = {"paths": [f"{tree.logs}/*.csv"], "to": f"{tree.folder}/archive", "older_than": "30d", "cron": "@daily"}
    made = jobs.kind("archive").model_validate(options)
    steps = made.plan(Context(**({"now": datetime.now(UTC), "cause": Scheduled(NOW)} | ctx)))
    return [os.path.basename(step.target) for step in steps if isinstance(step, Action)]


def test_the_clock_is_trusted_only_while_it_goes_on(tree):
    """After a jump nothing is archived; with the clock a year behind nothing is old."""
    tree.log("a.csv", age=40 * DAY)
    assert planned(tree) == ["archive", "a.csv"]
    assert planned(tree, clock_jumped=True) == []
    assert planned(tree, now=datetime.now(UTC) - timedelta(days=365)) == []


@needs_root
def test_no_mount_below_the_pattern_is_entered(tree):
    """What is mounted below the fixed part of a pattern is left alone."""
    (tree.logs / "mounted").mkdir()
    tree.write_config(job(pattern="LOGS/**/*.csv"))
    tree.log("a.csv", age=40 * DAY)
    with mounted("-t tmpfs", Path("none"), tree.logs / "mounted"):
        tree.log("mounted/b.csv", age=40 * DAY)
        succeeded(tree.do())
        assert tree.names() == ["mounted/b.csv"]


@needs_root
def test_from_a_users_directory_root_works_confined(tree):
    """Where a user can write, the work is done in a confined child, and the file keeps its owner in root's archive."""
    old = tree.log("a.csv", b"theirs\n", age=40 * DAY)
    for path in (tree.logs, old):
        os.chown(path, 1000, 1000)
    tree.folder.chmod(0o755)
    succeeded(tree.do())
    stored = (tree.folder / "archive/a.csv.zst").stat()
    assert (stored.st_uid, tree.names()) == (1000, [])
    assert (tree.folder / "archive" / inventory.NAME).stat().st_uid == 0


@needs_root
def test_all_of_one_users_is_archived_as_that_user(tree):
    """Where files and archive are of one user, all is done as that user, the manifest too."""
    old = tree.log("a.csv", age=40 * DAY)
    (tree.folder / "archive").mkdir()
    for path in (tree.logs, old, tree.folder / "archive"):
        os.chown(path, 1000, 1000)
    succeeded(tree.do())
    assert (tree.folder / "archive" / inventory.NAME).stat().st_uid == 1000
    assert archived(tree) == ["a.csv.zst"]


def test_a_full_disk_takes_nothing_away(tree):
    """Where the archive has no room the file stays whole where it is, one event says so, and nothing is left there."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    tree.log("a.csv", os.urandom(300_000), age=40 * DAY)
    (tree.folder / "archive").mkdir()
    with mounted("-t tmpfs -o size=128K", Path("none"), tree.folder / "archive"):
        did = tree.do()
        (event,) = did.events("archive.failed")
        assert event["error"] == "ENOSPC"
        assert (tree.names(), archived(tree)) == (["a.csv"], [])
        for number in range(12):
            tree.log(f"b{number}.csv", os.urandom(300_000), age=40 * DAY)
        tree.log("small.csv", age=40 * DAY)
        did = tree.do()
        assert len(did.events("archive.failed")) <= 3, "a full archive is no storm of events"
        assert did.event("action.omitted")["target"] == str(tree.folder / "archive")
        if not archived(tree):  # two are stored at a time, and the part of a large one may have had the room just then
            tree.do()
        assert archived(tree) == ["small.csv.zst"]


def test_a_file_with_other_links_or_set_id_bits_is_refused(tree):
    """Hard links and set-id bits are refused with the reason; links are no files."""
    old = tree.log("a.csv", age=40 * DAY)
    os.link(old, tree.folder / "other")
    set_id = tree.log("b.csv", age=40 * DAY)
    set_id.chmod(0o4755)
    did = tree.do()
    assert len(did.events("file.refused")) == 2
    assert tree.names() == ["a.csv", "b.csv"]
    assert stat.S_IMODE(set_id.stat().st_mode) == 0o4755


@needs_root
def test_where_it_may_not_look_it_says_so_and_does_the_rest(tree):
    """Without the rights for a directory below, that one is named, and the others are archived."""
    tree.write_config(job(pattern="LOGS/**/*.csv"))
    for name in ("open/a.csv", "closed/b.csv"):
        tree.log(name, age=40 * DAY)
    closed = tree.logs / "closed"
    closed.chmod(0o700)
    os.chown(closed, 1000, 1000)
    did = tree.do(powerless=True)
    assert archived(tree) == ["open/a.csv.zst"], did
    assert tree.names() == ["closed/b.csv"]
    assert f"{closed}: cannot open it: Permission denied" in " ".join(
        f"{event['target']}: {event.get('reason')}" for event in did.events("paths.missed")
    )


def test_what_changes_after_the_plan_stays(tree):
    """A file that is written between plan and action is refused, and nothing of it is in the archive."""
    old = tree.log("a.csv", age=40 * DAY)
    (tree.folder / "archive").mkdir()
    options = {"paths": [str(old)], "to": f"{tree.folder}/archive", "older_than": "30d", "cron": "@daily"}
    made = jobs.kind("archive").model_validate(options)
    (action,) = (s for s in made.plan(Context(now=datetime.now(UTC), cause=Asked())) if isinstance(s, Action))
    old.write_bytes(b"changed")
    from maintd.actions.hands import Hands
    from maintd.errors import Refused

    with Hands() as hands, pytest.raises(Refused, match="changed"):
        list(action.apply(hands))
    assert old.read_bytes() == b"changed"
    assert archived(tree) == []


def test_zstd_and_gzip_read_what_is_stored(tree):
    """The system's own tools give an archived file back."""
    tree.write_config(job('compress = "gzip"'))
    tree.log("a.csv", b"a line\n" * 1000, age=40 * DAY)
    succeeded(tree.do())
    done = subprocess.run(["gzip", "-dc", tree.folder / "archive/a.csv.gz"], check=True, capture_output=True)
    assert done.stdout == b"a line\n" * 1000


@pytest.mark.parametrize("options", ["", 'bundle = "month"'])
def test_a_file_that_stays_is_stored_anew_whatever_its_times_say(tree, options):
    """With keep_originals a correction of the same size and mtime is stored too; what was only touched is not."""
    tree.write_config(job(f"keep_originals = true\n{options}"))
    for name in ("a-2026-02-01.csv", "b-2026-02-01.csv", "c-2026-02-01.csv"):
        tree.log(name, b"price 100\n")
    succeeded(tree.do())
    corrected, replaced, touched = (tree.logs / f"{name}-2026-02-01.csv" for name in "abc")
    for path in (corrected, replaced):
        before = path.stat()
        fresh = path if path == corrected else path.with_suffix(".new")
        fresh.write_bytes(b"price 999\n")
        os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
        fresh.rename(path)
    touched.chmod(0o600)
    stored = [event["target"] for _ in range(2) for event in tree.do().events("file.archived")]
    assert sorted(stored) == [str(corrected), str(replaced)]
    assert [step for step in tree.plan() if step["step"] == "action"] == []
    assert len(lines(tree)) >= 6
    assert tree.run("archive", "verify").returncode == 0
    found = inventory.read(str(tree.folder / "archive"))
    assert found.entries[next(key for key in found.entries if "c-2026" in "".join(key))].mode == 0o600


def test_lines_without_a_ctime_are_read_and_completed(tree):
    """A manifest of an older version stays good: the next run compares what stays with it, and stores nothing twice."""
    tree.write_config(job("keep_originals = true\n"))
    tree.log("a.csv", age=40 * DAY)
    succeeded(tree.do())
    path = tree.folder / "archive" / inventory.NAME
    older = {name: value for name, value in lines(tree)[0].items() if name != "ctime_ns"}
    path.write_text(json.dumps(older) + "\n")
    assert succeeded(tree.do()).events("file.archived") == []
    assert archived(tree) == ["a.csv.zst"]
    assert [step for step in tree.plan() if step["step"] == "action"] == []


def test_an_archive_that_all_of_the_files_lie_in_is_an_error(tree):
    """Where a pattern names only what lies in the archive, nothing would ever be archived: check says so."""
    tree.write_config(job(to="LOGS"))
    checked = tree.run("check")
    assert checked.returncode == 1
    assert "names only what lies in the archive" in checked.stderr


@pytest.mark.parametrize("options", ["", 'compress = "none"\n', 'bundle = "month"\n'], ids=["zstd", "none", "bundle"])
def test_other_content_of_the_same_size_and_time_gets_another_name(tree, options):
    """What only looks like a file that is archived is seen to be another, and is put away by the next run."""
    tree.write_config(job(options))
    for held in (b"AAAA\n", b"BBBB\n"):
        path = tree.log("p-2026-02-01.csv", held)
        os.utime(path, (1_770_000_000, 1_770_000_000))
        tree.do()
    (event,) = [event for event in succeeded(tree.do()).events() if event["event"] == "file.archived"]
    assert event["target"] == str(path)
    assert tree.names() == []
    assert len(archived(tree)) == 2
    assert tree.run("archive", "get", "p-2026-02-01.csv", "--to", str(tree.folder / "back")).returncode == 0
    assert {path.read_bytes() for path in (tree.folder / "back").iterdir()} == {b"AAAA\n", b"BBBB\n"}
    assert tree.run("archive", "verify").returncode == 0


@needs_root
@pytest.mark.parametrize("options", ["", 'bundle = "month"\n'], ids=["single", "bundle"])
def test_a_file_under_another_users_lease_is_put_off(options):
    """Whoever holds a lease on it has it open: it stays, without a failure, and goes once that is over."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve())
        tree.folder.chmod(0o755)
        tree.write_config(job(options))
        path = tree.log("p-2026-02-01.csv", b"a price\n")
        for owned in (tree.logs, path):
            os.chown(owned, NOBODY, NOBODY)
        held = subprocess.Popen([sys.executable, "-c", LEASE, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            assert held.stdout
            assert held.stdout.readline() == b"held\n"
            did = tree.do()
            assert not [event for event in did.events() if event["event"] == "archive.failed"], did
            assert tree.names() == ["p-2026-02-01.csv"]
        finally:
            held.communicate(timeout=10)
        succeeded(tree.do())
        assert tree.names() == []


LEASE = f"""
import fcntl, os, signal, sys
os.setgid({NOBODY}); os.setuid({NOBODY})
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
print("held", flush=True)
sys.stdin.read()
"""


def heard_of(tree: Tree, target: str, hear: Callable[[Action], object] = bool) -> list[int]:
    """What the job says of how far it is with that, in bytes, while it runs to its good end; `hear` hears it too."""
    name, loaded, log = "archive.old", config.load(str(tree.config)), Log(lambda _: None)
    ctx = contexts.context(loaded, name, datetime.now(UTC), Asked())
    told: list[tuple[str, int]] = []
    job = loaded.jobs[name]

    def on_progress(action: Action, count: int) -> None:
        told.append((action.target, count))
        hear(action)

    run = Run(name=name, job=job, ctx=ctx, on_progress=on_progress)
    result = Runner(log).run(run)
    log.close()
    assert result.failed == 0
    return [count for of, count in told if of.endswith(target)]


def test_each_pass_over_a_large_file_says_that_it_goes_on(tree):
    """Hashing a file and its copy is heard of as copying it is, so that no silence ends them."""
    size = 3 << 20
    tree.log("large.csv", os.urandom(size), age=40 * DAY)
    told = heard_of(tree, "large.csv")
    assert sum(count >= size for count in told) >= 3, f"copied, read, the copy read: {told}"
