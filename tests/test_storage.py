"""The kind `storage` and `maintd storage`: what is measured, remembered and said, by the real program."""

import json
import os
import re
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Command, Site
from tests.tree import Tree

JOB = '[storage.app]\ndirectories = ["LOGS"]\nevery = "6h"\n'
NOW = datetime.now(UTC)
GIB = 1 << 30


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree(tmp_path, JOB)
    made.log("api.log", b"x" * 500_000)
    made.log("api.log.20260101T000000Z.zst", b"x" * 100_000)
    made.log("prices/2026.csv", b"y" * 300_000)
    return made


def report(tree: Tree) -> dict[str, Any]:
    done = tree.run("storage", "--json")
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return dict(json.loads(done.stdout))


def remember(tree: Tree, what: str, sizes: list[int]) -> None:
    """Has a daemon's runs of one a day, up to yesterday, found these sizes."""
    from maintd.state import State
    from maintd.trends import Sample

    (tree.folder / "state").mkdir(mode=0o700, exist_ok=True)
    state = State(str(tree.folder / "state"), lambda event: pytest.fail(str(event)))
    for age, size in zip(range(len(sizes), 0, -1), sizes, strict=True):
        state.record_samples("storage.app", [Sample(NOW - timedelta(days=age), what, size)])
    state.close()


def test_a_run_says_what_directories_and_file_systems_have(tree: Tree):
    """One event for each directory and each file system, with sizes in their fields; nothing on the disk changes."""
    before = tree.names()
    did = tree.do()
    assert did.code == 0, did
    directory, disk = did.event("directory.measured"), did.event("storage.measured")
    assert directory["target"] == str(tree.logs)
    assert (directory["files"], directory["archives"], directory["apparent_bytes"]) == (3, 1, 900_000)
    assert directory["disk_bytes"] >= 900_000
    assert directory["largest"].startswith(f"{tree.logs}/api.log ")
    space = os.statvfs(tree.logs)
    assert disk["size_bytes"] == space.f_blocks * space.f_frsize
    assert disk["inodes"] == space.f_files
    assert "full_days" not in disk
    assert tree.names() == before


def test_it_measures_also_while_it_only_observes(tree: Tree):
    """A report changes nothing, so the advised first week has it too."""
    tree.write_config(JOB + "observe = true\n")
    assert tree.do().names().count("directory.measured") == 1


def test_what_cannot_be_measured_is_said_and_the_rest_is(tree: Tree):
    """A directory that is missing, or a file, is a finding with its reason; others are measured."""
    tree.write_config(JOB.replace('["LOGS"', '["LOGS/no", "LOGS/api.log", "LOGS"'))
    planned = tree.run("plan", "storage.app", "--json")
    assert planned.returncode == 1
    steps = [json.loads(line) for line in planned.stdout.splitlines()]
    found = {step["target"]: step["reason"] for step in steps if step["step"] == "finding"}
    assert found == {
        f"{tree.logs}/no": "not measured: No such file or directory",
        f"{tree.logs}/api.log": "not measured: Not a directory",
    }
    did = tree.do()
    assert did.event("directory.measured")["target"] == str(tree.logs)
    assert [event["target"] for event in did.events("measure.failed")] == list(found)
    assert did.code == 5
    done = tree.run("storage")
    assert done.returncode == 1
    assert "LOGS/no".replace("LOGS", str(tree.logs)) in done.stderr
    assert "api" in done.stdout


def test_a_daemon_tells_of_what_is_not_there_until_it_is(tmp_path: Path):
    """A storage job's directory and two guards' that are missing: an event each, and when they are there."""
    from tests.end_to_end.daemon import Daemon

    gone = tmp_path / "gone"
    guards = f'[guard.floor]\ndirectory = "{gone}"\nmin_free = "1K"\n'
    guards += f'[guard.budget]\ndirectory = "{gone}"\nmax_used = "10M"\n'
    job = f'[storage.app]\ndirectories = ["{gone}", "LOGS"]\nevery = "1s"\n'
    daemon = Daemon(tmp_path, job + guards)
    daemon.tree.log("api.log", b"x")
    try:
        daemon.start()
        for name in ("measure.failed", "storage.failed", "directory.failed"):
            assert daemon.event(name)["target"] == str(gone)
        daemon.event("job.finished", count=3, job="storage.app", outcome="failure")
        assert daemon.tree.run("do", "guard.floor").returncode == 1
        gone.mkdir()
        (gone / "file").write_text("x")
        daemon.event("storage.ok")
        daemon.event("directory.ok")
        daemon.event("job.finished", job="storage.app", outcome="success")
    finally:
        daemon.end()
    told = [event["event"] for event in daemon.events() if event["event"].endswith(".failed")]
    told.remove("storage.failed")  # that of do
    assert sorted(told) == ["directory.failed", "measure.failed", "storage.failed"]


def test_databases_are_known_by_their_header(tree: Tree):
    """Size, WAL and freelist of a live database, read without a connection; what is only named so is not one."""
    path = tree.logs / "main.db"
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE t (x)")
    connection.executemany("INSERT INTO t VALUES (?)", [(b"x" * 3000,)] * 200)
    connection.execute("DELETE FROM t")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("CREATE TABLE u (x)")
    (tree.logs / "not.sqlite").write_bytes(b"no database")
    free = connection.execute("PRAGMA freelist_count").fetchone()[0] * 4096
    (found,) = report(tree)["directories"][0]["databases"]
    assert found["path"] == str(path)
    assert found["size"] == path.stat().st_size
    assert found["wal"] == Path(f"{path}-wal").stat().st_size > 0
    assert abs(found["free"] - free) <= 8192
    connection.execute("INSERT INTO u VALUES (1)")
    connection.close()


def test_what_is_deleted_and_still_open_is_named_with_who_holds_it(tree: Tree):
    """The gap between du and df: its size, its process and its former name; after the close it is gone."""
    path = tree.logs / "held"
    with path.open("wb") as file:
        file.write(b"x" * 3_000_000)
        file.flush()
        path.unlink()
        held = [one for one in report(tree)["deleted"] if one["was"] == str(path)]
        assert [(one["pid"], one["size"] >= 3_000_000) for one in held] == [(os.getpid(), True)]
        assert tree.do().event("storage.measured")["deleted_bytes"] >= 3_000_000
        assert str(path) in tree.run("storage").stdout
    assert not [one for one in report(tree)["deleted"] if one["was"] == str(path)]


def test_all_that_is_deleted_counts_also_what_is_not_named(tree: Tree):
    """Of very many files the largest are named, and all are added up."""
    path = tree.logs / "held"
    with ExitStack() as stack:
        for number in range(120):
            file = stack.enter_context(path.open("wb"))
            file.write(b"x" * (100_000 + number))
            file.flush()
            path.unlink()
        found = report(tree)
        (space,) = found["file_systems"]
        assert space["deleted_files"] >= 120 > len(found["deleted"])
        assert space["deleted_bytes"] >= 120 * 100_000
        assert tree.do().event("storage.measured")["deleted_bytes"] >= 120 * 100_000
        assert re.search(r"in \d+ more", tree.run("storage").stdout)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_is_deleted_counts_for_its_file_system_by_whatever_path(tree: Tree):
    """Opened by a bind mount that lies elsewhere, it is in the event of the file system that it takes room on."""
    bound = tree.folder / "bound"
    bound.mkdir()
    with mounted(tree.logs, "-t", "tmpfs", "none"), mounted(bound, "--bind", str(tree.logs)):
        tree.log("api.log", b"x")
        with (bound / "held").open("wb") as file:
            file.write(b"x" * 3_000_000)
            file.flush()
            (bound / "held").unlink()
            assert tree.do().event("storage.measured")["deleted_bytes"] >= 3_000_000


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_disk_that_is_not_mounted_any_more_is_a_failure(tmp_path: Path):
    """What a daemon has measured on a disk of its own, and is empty without it, fails; another empty one does not."""
    from tests.end_to_end.daemon import Daemon

    data, empty = tmp_path / "data", tmp_path / "empty"
    for folder in (data, empty):
        folder.mkdir()
    (empty / "file").write_text("x")
    job = f'[storage.app]\ndirectories = ["{data}/x", "{empty}"]\nevery = "1s"\n'
    daemon = Daemon(tmp_path, job)
    with mounted(data, "-t", "tmpfs", "none"):
        (data / "x").mkdir()
        (data / "x/file").write_text("x")
        try:
            daemon.start()
            daemon.event("job.finished", count=2, job="storage.app", outcome="success")  # so that one is remembered
        finally:
            daemon.end()
    (data / "x").mkdir()
    (empty / "file").unlink()
    done = daemon.tree.run("do", "storage.app")
    assert done.returncode == 1
    assert f"nothing is mounted at {data} any more" in done.stdout + done.stderr
    assert f"could not measure it: {empty}" not in done.stdout + done.stderr
    (data / "x/file").write_text("x")
    assert daemon.tree.run("do", "storage.app").returncode == 0


@contextmanager
def mounted(at: Path, *options: str) -> Iterator[None]:
    subprocess.run(["mount", *options, at], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", at], check=True)


def test_growth_of_several_days_has_a_date_with_bounds(tree: Tree):
    """From what earlier runs have found: growth a day of directory and file system, and when it is full."""
    space = os.statvfs(tree.logs)
    used = (space.f_blocks - space.f_bavail) * space.f_frsize
    mount = report(tree)["file_systems"][0]["mount"]
    remember(tree, mount, [used - days * GIB for days in range(9, 0, -1)])
    remember(tree, str(tree.logs), [size * 10_000 for size in range(1, 8)])
    found = report(tree)
    disk, directory = found["file_systems"][0], found["directories"][0]
    assert disk["per_day"] == pytest.approx(GIB, rel=0.1)
    likely, earliest, latest = disk["full_days"]
    assert earliest <= likely == pytest.approx(disk["free"] / GIB, rel=0.15)
    assert likely <= latest
    assert directory["per_day"] >= 10_000
    shown = re.findall(r"(\d+) days", tree.run("storage").stdout)
    assert any(abs(int(days) - likely) <= 0.1 * likely + 1 for days in shown)  # others fill and free the disk meanwhile


def test_a_run_without_a_daemon_knows_what_a_daemon_has_measured(tree: Tree):
    """`do` tells growth and the date from the history of an earlier daemon, and adds nothing to it."""
    from maintd.state import samples_kept

    space = os.statvfs(tree.logs)
    used = (space.f_blocks - space.f_bavail) * space.f_frsize
    mount = report(tree)["file_systems"][0]["mount"]
    remember(tree, mount, [used - days * GIB for days in range(9, 0, -1)])
    remember(tree, str(tree.logs), [size * 10_000 for size in range(1, 8)])
    before = samples_kept(str(tree.folder / "state"), "storage.app")
    did = tree.do()
    assert did.event("storage.measured")["growth_bytes"] == pytest.approx(GIB, rel=0.1)
    assert did.event("storage.measured")["full_days"] > 0
    assert did.event("directory.measured")["growth_bytes"] >= 10_000
    assert samples_kept(str(tree.folder / "state"), "storage.app") == before


def test_what_is_there_at_midnight_raises_no_warning(tree: Tree):
    """A day that has one sample so far, with 5 GiB more than those before, does not count: nothing will be full."""
    from maintd.state import State
    from maintd.trends import Sample

    tree.write_config(JOB + 'warn_within = "3650d"\n')
    space = os.statvfs(tree.logs)
    used = (space.f_blocks - space.f_bavail) * space.f_frsize
    mount = report(tree)["file_systems"][0]["mount"]
    (tree.folder / "state").mkdir(mode=0o700, exist_ok=True)
    state = State(str(tree.folder / "state"), lambda event: pytest.fail(str(event)))
    day = NOW.replace(hour=0, minute=0)
    for hours in range(-3 * 24, 0, 6):
        state.record_samples(
            "storage.app", [Sample(day + timedelta(hours=hours), mount, used - 5 * GIB + hours * 50_000)]
        )
    state.close()
    did = tree.do()
    assert "storage.filling" not in did.names()
    assert "growth_bytes" not in did.event("storage.measured")


def test_what_grows_fastest_is_named(tree: Tree):
    """Files and services with the steepest growth of several days, for programs and for people."""
    remember(tree, f"{tree.logs}/api.log", [size * 20_000 for size in range(1, 8)])
    remember(tree, f"{tree.logs}//api", [size * 20_000 for size in range(1, 8)])
    remember(tree, f"{tree.logs}/web.log", [size * 1_000 for size in range(1, 8)])
    (directory,) = report(tree)["directories"]
    assert directory["fastest"][0]["per_day"] >= 20_000
    assert next(one for one in directory["services"] if one["name"] == "api")["per_day"] >= 20_000
    assert {("api" if one.get("service") else one["path"]) for one in directory["fastest"]} >= {
        "api",
        f"{tree.logs}/api.log",
    }
    shown = tree.run("storage").stdout
    assert "growing fastest" in shown
    assert f"api in {tree.logs}" in shown.replace("\n", " ")
    assert "//" not in shown


def test_what_grows_below_the_root_is_named_like_anything_else():
    """Of the directory /, services are told apart from files, and the directory itself is not among what is in it."""
    from maintd.actions import measure
    from maintd.trends import Sample

    whats = ("/", measure.group("/", "opt"), "/opt/a/api.log")
    days = [NOW - timedelta(days=age) for age in range(8, 0, -1)]
    samples = [Sample(at, what, place * (1000 + len(what))) for place, at in enumerate(days) for what in whats]
    found = [what for _, what in measure.fastest("/", samples)]
    assert [measure.shown(what) for what in found] == ["/opt/a/api.log", "opt in /"]
    assert [measure.parts(what) for what in found] == [("/opt/a/api.log", ""), ("/", "opt")]


def test_archives_are_part_of_the_report(tree: Tree):
    """How many files lie in each archive, how large they were and are, since when, and whether one is missing."""
    archive = '[archive.old]\npaths = ["LOGS/*.csv"]\nto = "HERE/archive"\nolder_than = "1d"\ncron = "@daily"\n'
    for name in ("a.csv", "b.csv"):
        tree.log(name, b"x" * 50_000, age=90_000)
    tree.write_config(JOB + archive)
    assert tree.do("archive.old").code == 0
    (found,) = report(tree)["archives"]
    assert (found["where"], found["files"], found["size"], found["missing"]) == (
        f"{tree.folder}/archive",
        2,
        100_000,
        0,
    )
    assert 0 < found["stored"] < 10_000
    (tree.folder / "archive/a.csv.zst").unlink()
    assert report(tree)["archives"][0]["missing"] == 1
    assert "1 missing" in tree.run("storage").stdout


def test_a_daemon_remembers_and_warns_once(tmp_path: Path):
    """Runs of the daemon keep what they measure, of 20 files also if fewer are named, and not each run if one follows
    the other soon; that the disk will be full is said when it is new, and not again."""
    from maintd.state import samples_kept
    from tests.end_to_end.daemon import Daemon

    daemon = Daemon(tmp_path, JOB + 'warn_within = "3650d"\n')
    daemon.tree.log("api.log", b"x" * 500_000)
    files = {str(daemon.tree.log(f"prices/{number}.csv", b"x" * 9_000)) for number in range(15)}
    mount = report(daemon.tree)["file_systems"][0]["mount"]
    space = os.statvfs(tmp_path)
    used = (space.f_blocks - space.f_bavail) * space.f_frsize
    remember(daemon.tree, mount, [used - days * 5 * GIB for days in (3, 2, 1)])
    try:
        daemon.start()
        for _ in range(4):
            assert daemon.tree.do("storage.app").code == 0
        assert daemon.stop() == 0
    finally:
        daemon.end()
    assert len(daemon.events("storage.measured")) == 4
    assert [event["target"] for event in daemon.events("storage.filling")] == [mount]
    kept = samples_kept(str(tmp_path / "state"), "storage.app")
    assert sum(sample.what == mount for sample in kept) == 5
    assert {str(daemon.tree.logs), f"{daemon.tree.logs}//api", *files} <= {sample.what for sample in kept}


def test_tables_fit_the_terminal(site: Site, maintd: Command):
    """On a terminal no line is wider than it; bars are drawn."""
    site.log("a.log", b"x" * 100_000)
    site.configure('[storage.app]\ndirectories = ["{logs}"]\nevery = "6h"\n')
    code, lines = maintd.on_terminal("storage", columns=80, PYTHONIOENCODING="utf-8")
    assert code == 0
    assert max(map(len, lines)) <= 80
    assert any("█" in line for line in lines)


def test_a_config_without_a_storage_job_says_what_to_do(tmp_path: Path):
    """Without such a job, or with the name of another, there is nothing to show, and it says what to write."""
    tree = Tree(tmp_path, '[rotate.a]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n')
    done = tree.run("storage")
    assert (done.returncode, "add [storage.NAME]" in done.stderr) == (1, True)
    assert tree.run("storage", "rotate.a").returncode == 2
    assert tree.run("storage", "storage.b").returncode == 2


def test_the_child_stays_small(tmp_path: Path):
    """A walk over many files takes no more memory than one over few: below 60 MB."""
    for number in range(20_000):
        (tmp_path / f"d{number % 10}").mkdir(exist_ok=True)
        (tmp_path / f"d{number % 10}/file-with-a-long-name-{number}").touch()
    code = f"""
from maintd.measuring import walk
assert walk(lambda _: None, path={str(tmp_path)!r}, top=10, number=0, count=1)["total"]["files"] == 20_000
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM:")))
"""
    python = Path(__file__).parents[1] / ".venv/bin/python"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    assert int(done.stdout) * 1024 < 60e6
