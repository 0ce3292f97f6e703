"""The kind `expire` on the disk: what its rules delete, and what no rule ever does."""

import contextlib
import os
import shutil  # noqa: TID251 - takes directories away under a walk
import subprocess
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintd import jobs, patterns
from maintd.job import Context
from maintd.steps import Action, Finding
from maintd.triggers import Asked, Scheduled

from .conftest import snapshot
from .tree import Tree

DAY = 86_400.0
NOW = datetime(2026, 11, 23, 10, tzinfo=UTC)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


def job(options: str, pattern: str = "LOGS/*.csv", name: str = "old") -> str:
    return f'[expire.{name}]\npaths = ["{pattern}"]\ncron = "@daily"\n{options}\n'


def aged(tree: Tree, *ages: float, folder: str = "", suffix: str = ".csv", size: int = 10) -> None:
    """Files called by their age in days."""
    for age in ages:
        tree.log(f"{folder}{age:g}{suffix}", b"x" * size, age=age * DAY)


def planned(folder: Path, *, now: datetime | None = None, jumped: bool = False, **options: Any) -> list[str]:
    """The names that a job on a folder would delete."""
    made = jobs.kind("expire").model_validate({"paths": [f"{folder}/**/*.csv"], "cron": "@daily"} | options)
    ctx = Context(now=now or datetime.now(UTC), cause=Scheduled(NOW), clock_jumped=jumped)
    return [os.path.basename(step.target) for step in made.plan(ctx) if isinstance(step, Action)]


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


@pytest.mark.parametrize("options", ["", 'keep_within = "30d"', "max_share = '10%'"])
def test_an_empty_policy_is_an_error(tree, options):
    """A job without a rule is refused with the options that would be one: it never means 'delete everything'."""
    tree.write_config(job(options))
    checked = tree.run("check")
    assert checked.returncode == 1
    assert "the policy is empty" in checked.stdout + checked.stderr
    assert "keep_last" in checked.stdout + checked.stderr


@pytest.mark.parametrize("share", ["50", '"0%"', '"101%"', '"half"', "0.5"])
def test_a_share_is_a_percentage(tree, share):
    """max_share takes a percentage above 0 and up to 100, and nothing else, and says so."""
    tree.write_config(job(f"keep_last = 1\nmax_share = {share}"))
    checked = tree.run("check")
    assert checked.returncode == 1
    assert "percentage" in checked.stdout + checked.stderr


def test_what_no_rule_keeps_goes_each_with_its_reason(tree):
    """plan shows each file with its verdict, and do deletes those that it shows, the oldest first."""
    aged(tree, 1, 2, 3, 40)
    tree.write_config(job('keep_last = 3\nmax_age = "30d"'))
    steps = {Path(step["target"]).name: (step["step"], step["reason"]) for step in tree.plan()}
    assert steps == {
        "40.csv": ("action", "older than max_age 30d"),
        "3.csv": ("finding", "kept: generation 3"),
        "2.csv": ("finding", "kept: generation 2"),
        "1.csv": ("finding", "kept: the newest is always kept"),
    }
    (event,) = tree.do().events("file.expired")
    assert (Path(event["target"]).name, event["freed_bytes"], event["reason"]) == (
        "40.csv",
        10,
        "older than max_age 30d",
    )
    assert tree.names() == ["1.csv", "2.csv", "3.csv"]


def test_a_date_in_the_name_counts_more_than_mtime(tmp_path):
    """A file copied yesterday is as old as its name says; without a date, or with one to come, as mtime."""
    for name, age in (("p-2020-01-01.csv", 1), ("p-20200102T0304Z.csv", 1), ("p-2020-01-31-x.csv", 1)):
        _file(tmp_path / name, age)
    for name, age in (("p-2999-01-01.csv", 90), ("p-2026-02-31.csv", 90), ("plain.csv", 90), ("new.csv", 0)):
        _file(tmp_path / name, age)
    gone = planned(tmp_path, max_age="30d", max_share="100%")
    assert gone[:3] == ["p-2020-01-01.csv", "p-20200102T0304Z.csv", "p-2020-01-31-x.csv"]
    assert sorted(gone[3:]) == ["p-2026-02-31.csv", "p-2999-01-01.csv", "plain.csv"]


def test_digits_in_an_identifier_are_no_date(tree):
    """Digits with letters beside them, or of a UUID, say nothing of a file's age; at the end of a word they do."""
    tree.write_config(job('max_age = "30d"\nmax_share = "100%"'))
    names = ["id-a20201231b.csv", "x20201231.csv", "id-20201231b.csv", "3f20201231e.csv", "deadbeef20190102.csv"]
    names += ["order-2019-12B.csv", "abc2019-11def.csv", "x.2019-05x.csv", "9abc20190102.csv"]
    names += [
        f"{uuid}.csv" for uuid in ("6fa459ea-2019-11ed-9cbc-0242ac130003", "20190102-0304-11ed-9cbc-0242ac130003")
    ]
    dated = ["log20200101.csv", "p_20200102.csv", "20200103T010203.csv", "log2020-01.csv", "x2020-01-03T04.csv"]
    for name in (*names, *dated, "new.csv"):
        tree.log(name)
    assert tree.do().code == 0
    assert tree.names() == sorted([*names, "new.csv"])


def _file(path: Path, age_in_days: float, content: bytes = b"x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, (time.time() - age_in_days * DAY,) * 2)
    return path


def test_each_directory_keeps_its_newest(tmp_path):
    """Rules count in each directory on its own, and the newest of each stays, however old it is."""
    for name, age in (("a/1.csv", 900), ("a/2.csv", 800), ("b/3.csv", 700), ("b/4.csv", 3), ("5.csv", 999)):
        _file(tmp_path / name, age)
    assert planned(tmp_path, max_age="30d") == ["1.csv", "3.csv"]


@needs_root
@pytest.mark.parametrize("rule", ["keep_last = 3", 'max_total = "30"', "max_count = 3"])
def test_what_one_user_adds_has_nothing_of_another_deleted(tree, rule):
    """In a directory where anybody may add files, and remove only their own, all rules count for each owner."""
    aged(tree, 5, 6, 7, 8, 9)
    os.chown(tree.logs / "9.csv", 1, 1)
    aged(tree, 1, 2, 3, 4, folder="")
    for age in (1, 2, 3, 4):
        os.chown(tree.logs / f"{age}.csv", 65534, 65534)
    tree.write_config(job(f'{rule}\nmax_share = "100%"'))
    os.chmod(tree.logs, 0o1777)
    tree.do()
    assert tree.names() == ["1.csv", "2.csv", "3.csv", "5.csv", "6.csv", "7.csv", "9.csv"]
    os.chmod(tree.logs, 0o755)
    tree.do()
    assert tree.names() == ["1.csv", "2.csv", "3.csv"]


def test_per_log_the_generations_of_each_log_count(tmp_path):
    """Names that differ in date, number and suffix of compression alone are generations of one log."""
    ours = ["api.csv.20260101T000000Z.zst", "api.csv.20260102T000000Z-1.zst", "api.csv"]
    others = ["web-2026-01-01.csv.gz", "web-2026-01-02.csv.gz", "db.csv.2.gz", "db.csv.1", "solo.csv"]
    for age, name in enumerate([*ours, *others]):
        _file(tmp_path / name, 90 - age)
    gone = planned(tmp_path, paths=[f"{tmp_path}/*"], per="log", keep_last=1, max_share="100%")
    assert gone == [
        "api.csv.20260101T000000Z.zst",
        "api.csv.20260102T000000Z-1.zst",
        "db.csv.2.gz",
        "web-2026-01-01.csv.gz",
    ]


def test_at_most_half_goes_in_one_run(tree):
    """A rule that takes more than max_share takes the oldest half, says so in one event, and the next run goes on."""
    aged(tree, *range(1, 11))
    tree.write_config(job("keep_last = 1"))
    did = tree.do()
    assert tree.names() == [f"{age}.csv" for age in range(1, 6)]
    (event,) = did.events("expire.limited")
    assert (event["left"], event["left_bytes"], event["share"]) == (4, 40, "50%")
    tree.do()
    assert tree.names() == ["1.csv", "2.csv", "3.csv"]
    tree.write_config(job('keep_last = 1\nmax_share = "100%"'))
    assert tree.do().events("expire.limited") == []
    assert tree.names() == ["1.csv"]


def test_what_a_process_has_open_stays_and_the_next_oldest_goes_instead(tree):
    """A file that somebody reads is no candidate: max_count takes the next one, and the plan says why."""
    aged(tree, 1, 2, 3, 4)
    tree.write_config(job("max_count = 3"))
    with (tree.logs / "4.csv").open("rb"):
        reasons = {Path(step["target"]).name: step["reason"] for step in tree.plan() if step["step"] == "finding"}
        assert reasons["4.csv"] == "kept: a process has it open, or that cannot be known"
        did = tree.do()
    assert "4.csv" in tree.names()
    assert not [event for event in did.events() if event["event"].endswith(".failed")]


def test_a_file_that_is_opened_after_the_plan_is_left_alone(tree):
    """Between plan and action somebody opens the file: it is put off, and deleted by a later run."""
    aged(tree, 1, 2)
    (action,) = (step for step in _steps(tree.logs, keep_last=1) if isinstance(step, Action))
    from maintd.actions.hands import Hands
    from maintd.errors import NotYet, Refused

    with (tree.logs / "2.csv").open("rb"), Hands() as hands, pytest.raises(NotYet):
        list(action.apply(hands))
    (tree.logs / "2.csv").write_bytes(b"something new")
    with Hands() as hands, pytest.raises(Refused, match="changed"):
        list(action.apply(hands))
    assert tree.names() == ["1.csv", "2.csv"]


def _steps(folder: Path, **options: Any) -> list[Action | Finding]:
    made = jobs.kind("expire").model_validate({"paths": [f"{folder}/**/*.csv"], "cron": "@daily"} | options)
    return list(made.plan(Context(now=datetime.now(UTC), cause=Asked())))


def test_no_link_is_followed_and_none_is_deleted(tmp_path):
    """A symbolic link below the fixed part of a pattern leads nowhere; one that matches stays; so does a hard link."""
    folder, outside = tmp_path / "in", tmp_path / "out"
    _file(outside / "1.csv", 90)
    _file(folder / "new.csv", 0)
    (folder / "away").symlink_to(outside)
    (folder / "link.csv").symlink_to(outside / "1.csv")
    os.link(outside / "1.csv", folder / "hard.csv")
    before = snapshot(tmp_path)
    steps = _steps(folder, max_age="30d")
    assert [step for step in steps if isinstance(step, Action)] == []
    assert any("hard links" in step.reason for step in steps)
    assert snapshot(tmp_path) == before


@contextlib.contextmanager
def mounted(kind: str, source: Path, place: Path) -> Iterator[None]:
    done = subprocess.run(["mount", *kind.split(), source, place], check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"mounting is not allowed here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", place], check=True)


@needs_root
@pytest.mark.parametrize("kind", ["-t tmpfs", "--bind"])
def test_no_mount_below_the_pattern_is_entered(tmp_path, kind):
    """What is mounted below the fixed part of a pattern is left alone, also a bind mount of the same file system."""
    folder, other = tmp_path / "in", tmp_path / "other"
    other.mkdir()
    place = folder / "a b\\c"
    place.mkdir(parents=True)
    _file(folder / "1.csv", 90)
    _file(folder / "2.csv", 0)
    with mounted(kind, other, place):
        _file(place / "3.csv", 90)
        _file(place / "4.csv", 80)
        assert planned(folder, max_age="30d") == ["1.csv"]
        assert any(step.reason == "another file system is mounted there" for step in _steps(folder, max_age="30d"))
        # named by the pattern itself it is what is meant
        assert planned(place, max_age="30d") == ["3.csv"]


def test_directories_go_only_when_they_are_empty_and_it_is_asked(tree):
    """Without the option directories stay; with it those go in which nothing is left, never the pattern's own."""
    for name in ("a/b/1.csv", "a/c/2.csv", "a/c/keep.txt", "3.csv"):
        tree.log(name, b"x", age=90 * DAY)
    for name in ("long", "fresh"):
        (tree.logs / name).mkdir()
    tree.make_older(tree.logs / "long", 2 * DAY)
    tree.log("new.csv")
    options = 'max_age = "30d"\nmax_share = "100%"\n'
    for name in ("a/b", "a/c"):
        tree.log(f"{name}/newer.csv", b"x", age=40 * DAY)
    tree.write_config(job(options, "LOGS/**/*.csv"))
    tree.do()
    assert tree.names() == ["a/b/newer.csv", "a/c/keep.txt", "a/c/newer.csv", "new.csv"]
    (tree.logs / "a/b/newer.csv").unlink()
    tree.make_older(tree.logs / "a/b", 2 * DAY)
    tree.write_config(job(options + "empty_directories = true\n", "LOGS/**/*.csv"))
    did = tree.do()
    gone = [str(Path(event["target"]).relative_to(tree.logs)) for event in did.events("directory.removed")]
    assert sorted(gone) == ["a/b", "long"]
    assert sorted(path.name for path in tree.logs.iterdir()) == ["a", "fresh", "new.csv"]
    assert tree.do().events() == []


def test_a_directory_that_gets_a_file_meanwhile_stays(tmp_path):
    """Between plan and action somebody puts a file into a directory that was empty: it stays, and nothing fails."""
    (tmp_path / "empty").mkdir()
    os.utime(tmp_path / "empty", (time.time() - 3 * DAY,) * 2)
    (action,) = (step for step in _steps(tmp_path, keep_last=1, empty_directories=True) if isinstance(step, Action))
    from maintd.actions.hands import Hands

    (tmp_path / "empty/file").write_bytes(b"x")
    with Hands() as hands:
        assert list(action.apply(hands)) == []
    assert (tmp_path / "empty/file").exists()


def test_what_a_rotate_job_looks_after_is_left_to_it(tree):
    """A log that a rotate job names, and its generations, no expire job deletes; it says whose they are."""
    rotate = '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\n'
    for name in ("a.log", "a.log.20260101T000000Z.zst", "b.log.1", "b.log.2"):
        tree.log(name, age=90 * DAY)
    tree.write_config(rotate + job('max_age = "30d"\nper = "log"', "LOGS/*"))
    steps = {Path(step["target"]).name: step["reason"] for step in tree.plan("expire.old")}
    assert steps["a.log"] == steps["a.log.20260101T000000Z.zst"]
    assert "belongs to rotate.all" in steps["a.log"]
    tree.do("expire.old")
    assert {"a.log", "a.log.20260101T000000Z.zst"} <= set(tree.names())


def test_after_a_jump_of_the_clock_nothing_goes_by_age(tmp_path):
    """While the clock is not to be trusted max_age deletes nothing, and what keep_within may hold stays too."""
    for age in (1, 50, 60, 70):
        _file(tmp_path / f"{age}.csv", age)
    assert planned(tmp_path, max_age="30d", max_share="100%") == ["70.csv", "60.csv", "50.csv"]
    assert planned(tmp_path, jumped=True, max_age="30d") == []
    assert planned(tmp_path, jumped=True, keep_last=1, keep_within="1d") == []
    assert planned(tmp_path, jumped=True, keep_last=2) == ["70.csv", "60.csv"]


def test_a_clock_that_is_a_year_off_takes_half_at_most(tmp_path):
    """With the clock a year ahead from the start, the newest and half of the files stay; a year behind, all stay."""
    for age in range(10):
        _file(tmp_path / f"{age}.csv", age)
    now, year = datetime.now(UTC), timedelta(days=365)
    assert planned(tmp_path, now=now + year, max_age="30d") == ["9.csv", "8.csv", "7.csv", "6.csv", "5.csv"]
    assert planned(tmp_path, now=now - year, max_age="30d") == []


def test_names_of_any_bytes_are_taken_for_what_they_are(tree):
    """Names with every byte but / and NUL are planned, deleted and told; one like a pattern names itself alone."""
    every = [bytes([byte]) for byte in range(1, 256) if byte != ord("/")]
    for number, byte in enumerate(every):
        tree.log(os.fsdecode(b"x" + byte + b".csv"), b"x", age=(number + 40) * DAY)
    tree.log("*.csv", b"x", age=400 * DAY)
    tree.write_config(job('max_age = "39d"\nmax_share = "100%"'))
    did = tree.do()
    assert did.code == 0
    assert len(did.events("file.expired")) == len(every)
    assert tree.names() == ["x\x01.csv"]


def test_a_directory_that_vanishes_under_the_walk_is_passed_over(tmp_path):
    """What goes while it is being looked at is no failure, and the rest is found."""
    for name in ("a/1.csv", "b/2.csv", "c/3.csv"):
        _file(tmp_path / name, 3)
    calls = iter(range(100))

    def vanish() -> bool:
        if next(calls) == 2:
            shutil.rmtree(tmp_path / "b")
        return False

    found = patterns.expand([f"{tmp_path}/**/*.csv"], is_over=vanish)
    assert [os.path.basename(match.path) for match in found.matches] == ["1.csv", "3.csv"]
    assert [miss for miss in found.misses if miss.error] == []


@needs_root
def test_where_it_may_not_look_it_says_so_and_does_the_rest(tree):
    """Without the rights for a directory below, that one is named, and the others are done."""
    os.chown(tree.logs, 1000, 1000)
    aged(tree, 50, 60)
    aged(tree, 50, 60, folder="shut/")
    (tree.logs / "shut").chmod(0)
    tree.write_config(job('max_age = "30d"', "LOGS/**/*.csv"))
    did = tree.do(powerless=True)
    assert any("shut" in event["target"] and "Permission" in event["reason"] for event in did.events("paths.missed"))


@needs_root
def test_in_a_users_directory_it_is_done_as_that_user(tree):
    """Files in a directory of another user are deleted in a child that is that user, and directories too."""
    _ = [tree.log(f"a/{age}.csv", b"x", age=age * DAY) for age in (50, 60)]
    tree.log("new.csv")
    for path in (tree.logs, tree.logs / "a", *tree.logs.rglob("*.csv")):
        os.chown(path, 1000, 1000)
    (tree.logs / "a/60.csv").unlink()
    tree.log("a/70.csv", b"x", age=70 * DAY)
    os.chown(tree.logs / "a/70.csv", 1000, 1000)
    (tree.logs / "e").mkdir()
    os.chown(tree.logs / "e", 1000, 1000)
    tree.make_older(tree.logs / "e", 2 * DAY)
    tree.write_config(job('max_age = "30d"\nempty_directories = true', "LOGS/**/*.csv"))
    did = tree.do()
    assert did.code == 0, did
    assert tree.names() == ["a/50.csv", "new.csv"]
    assert not (tree.logs / "e").exists()
