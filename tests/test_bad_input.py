"""What people and machines get wrong: each gets one clear message, the right exit code, and nothing is lost."""

import base64
import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from maintd import config, contexts, families
from maintd.errors import TimedOut
from maintd.job import Context, Job
from maintd.log import Log
from maintd.own_files import OwnFiles
from maintd.runner import Runner
from maintd.runs import Result, Run
from maintd.steps import Action, Plan, Step
from maintd.triggers import Asked, Grown, Scheduled

from .tree import MAINTD, Tree

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'


# What a pattern names


@pytest.fixture
def odd(tmp_path: Path) -> Iterator[Tree]:
    """One good log, and around it everything that is none, each with a pattern of its own."""
    names = ("gone.log", "folder.log", "socket.log", "fifo.log", "dangling.log", "link.log", "nothing*.log")
    paths = ", ".join(f'"LOGS/{name}"' for name in (*names, "good.log", "nowhere/*.log"))
    tree = Tree(tmp_path, f'[rotate.all]\npaths = [{paths}]\ncron = "@daily"\n')
    tree.log("good.log")
    tree.log("folder.log/inside.txt")
    before = os.getcwd()
    os.chdir(tree.logs)  # a socket's path has 107 bytes at most
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket.log")
        os.chdir(before)
        os.mkfifo(tree.logs / "fifo.log")
        (tree.logs / "dangling.log").symlink_to("nobody")
        (tree.logs / "link.log").symlink_to("good.log")
        yield tree


ODD = {
    "gone.log": "does not exist",
    "folder.log": "is a directory, not a regular file",
    "socket.log": "is a socket, not a regular file",
    "fifo.log": "is a FIFO, not a regular file",
    "dangling.log": "is a dangling symbolic link, not a regular file",
    "link.log": "is a symbolic link, not a regular file",
    "nothing*.log": "matches no file",
    "*.log": "nowhere does not exist",
}


def test_what_is_no_log_is_told_once_and_left_alone(odd):
    """A path that is missing, a directory, a socket, a FIFO or a link is told by plan and do; the good log is done."""
    planned = {os.path.basename(step["target"]): step["reason"] for step in odd.plan() if step["step"] == "finding"}
    done = odd.do()
    assert done.code == 0, done
    told = {os.path.basename(event["target"]): event["reason"] for event in done.events("paths.missed")}
    assert planned == told
    assert set(told) == set(ODD)
    assert all(told[name].endswith(reason) for name, reason in ODD.items())
    assert [event["target"] for event in done.events("log.rotated")] == [str(odd.logs / "good.log")]
    assert (odd.logs / "folder.log/inside.txt").read_text() == "one line\n"
    assert (odd.logs / "link.log").is_symlink()
    assert (odd.logs / "fifo.log").is_fifo()
    assert (odd.logs / "socket.log").is_socket()


def test_check_names_what_is_no_log_with_its_place(odd):
    """`check` warns of each with file:line:col and ends with 0; with --strict it ends with 3."""
    done = odd.run("check")
    assert done.returncode == 0
    warnings = done.stderr.splitlines()
    for name, reason in ODD.items():
        (line,) = [line for line in warnings if name in line and line.endswith(reason)]
        assert re.match(rf"{odd.config}:\d+:\d+: warning: rotate\.all: ", line)
    assert odd.run("check", "--strict").returncode == 3


# Names

NAMES = [
    b"with space.log",
    b"new\nline.log",
    b"quo\"te's.log",
    b"st*r.log",
    b"star.log",
    b"br[ab]cket.log",
    b"bracket.log",
    b"wh?t.log",
    b"\xff\xfe latin.log",
    b"-rf.log",
    b"--help.log",
    b"$(touch hacked).log",
    b"`touch hacked`.log",
    b"esc\x1b[31mred\x07.log",
    b"back\\slash.log",
    "größe-日本.log".encode(),
    b"%s%n{x}.log",
    b"a.log.20261123T100000Z.log",
    b"x" * 200 + b".log",
]


def test_any_name_is_rotated_and_shown_unharmed(tmp_path):
    """Names with newlines, quotes, globs, escapes and bytes that are not UTF-8 are rotated and never printed raw."""
    tree = Tree(tmp_path, ROTATE)
    for number, name in enumerate(NAMES):
        Path(os.fsdecode(os.fsencode(tree.logs) + b"/" + name)).write_bytes(b"content %d\n" % number)
    before = tree.contents()
    for shown in (tree.run("plan").stdout, tree.run("check").stdout):
        assert re.fullmatch(r"[^\x00-\x09\x0b-\x1f\x7f]*", shown)
    done = tree.do()
    assert done.code == 0, done
    rotated = {os.path.basename(base64.b64decode(event["target_b64"])) for event in done.events("log.rotated")}
    assert rotated == set(NAMES)
    assert len(done.events("log.compressed")) == len(NAMES)
    assert all(event["target"].isprintable() for event in done.events("log.rotated"))
    assert tree.contents() == before
    assert not list(tmp_path.rglob("hacked"))
    assert {name for name in map(os.fsencode, os.listdir(tree.logs)) if name in NAMES} == set(NAMES)


def test_a_file_that_is_called_like_the_pattern_hides_no_other(tmp_path):
    """A service that makes a log called `*.log` keeps none of those that the pattern `*.log` means from rotation."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*.log", "LOGS/br[ab]cket.txt"]\ncron = "@daily"\n')
    for name in ("*.log", "a.log", "br[ab]cket.txt", "brbcket.txt", "brccket.txt"):
        tree.log(name)
    done = tree.do()
    rotated = {os.path.basename(event["target"]) for event in done.events("log.rotated")}
    assert rotated == {"*.log", "a.log", "br[ab]cket.txt", "brbcket.txt"}


def test_a_name_too_long_for_its_stamp_is_refused_with_advice(tmp_path):
    """A log whose archive's name, compressed, would exceed 255 bytes is left as it is, with advice; others go on."""
    tree = Tree(tmp_path, ROTATE)
    longest = tree.log("y" * 251 + ".log")
    suffixed = tree.log("z" * 231 + ".log")  # fits with its stamp, but not with .zst
    tree.log("short.log")
    before, inodes = tree.contents(), [longest.stat().st_ino, suffixed.stat().st_ino]
    done = tree.do()
    assert done.code == 5, done
    assert {event["target"] for event in done.events("rotate.refused")} == {str(longest), str(suffixed)}
    assert all("shorter" in event["advice"] for event in done.events("rotate.refused"))
    assert [longest.stat().st_ino, suffixed.stat().st_ino] == inodes
    assert len(done.events("log.compressed")) == 1
    assert tree.contents() == before
    assert tree.temporaries() == []


# Empty logs


def test_an_empty_log_is_rotated_only_if_that_is_wanted(tmp_path):
    """skip_empty passes over a 0-byte log and says so; without it the log is rotated like any other."""
    tree = Tree(
        tmp_path,
        '[rotate.skips]\npaths = ["LOGS/a.log"]\ncron = "@daily"\n'
        '[rotate.takes]\npaths = ["LOGS/b.log"]\ncron = "@daily"\nskip_empty = false\n',
    )
    tree.log("a.log", b"")
    tree.log("b.log", b"")
    assert [step["reason"] for step in tree.plan("rotate.skips")] == ["not rotated: it is empty"]
    done = tree.do()
    assert done.code == 0
    assert [os.path.basename(event["target"]) for event in done.events("log.rotated")] == ["b.log"]
    assert done.event("log.compressed")["in_bytes"] == 0
    assert [name for name in tree.names() if name.startswith("a")] == ["a.log"]


# Between plan and apply


@dataclass(frozen=True)
class Frozen:
    """A job that was planned before the world changed; all else is that of the real one."""

    job: Job
    steps: Plan

    def plan(self, _: Context) -> Iterator[Step]:
        yield from self.steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self.job, name)


@dataclass
class Interval:
    """What happens between a plan and its execution, in this process."""

    tree: Tree
    steps: Plan = ()

    def plan(self, name: str, cause: Any = Asked()) -> Plan:  # noqa: B008 - frozen
        loaded = config.load(str(self.tree.config))
        self.ctx = contexts.context(loaded, name, datetime.now(UTC), cause)
        self.job = loaded.jobs[name]
        self.steps = tuple(self.job.plan(self.ctx))
        return self.steps

    def apply(self) -> tuple[Result, list[dict[str, Any]]]:
        events: list[dict[str, Any]] = []
        log = Log(lambda _: None)
        job: Any = Frozen(self.job, self.steps)
        result = Runner(log).run(Run(name="a.job", job=job, ctx=self.ctx, listener=events.append))
        log.close()
        return result, events


def event(events: list[dict[str, Any]], name: str) -> dict[str, Any]:
    (found,) = [event for event in events if event["event"] == name]
    return found


def test_a_log_that_vanishes_after_the_plan_fails_alone(tmp_path):
    """A log removed between plan and apply is a failure of its own; the other logs are rotated, nothing is made up."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("gone.log", b"gone\n")
    tree.log("stays.log", b"stays\n")
    interval = Interval(tree)
    interval.plan("rotate.all")
    (tree.logs / "gone.log").unlink()
    result, events = interval.apply()
    failed = event(events, "rotate.failed")
    assert (failed["error"], failed["target"]) == ("ENOENT", str(tree.logs / "gone.log"))
    assert failed["advice"]
    assert event(events, "log.rotated")["target"] == str(tree.logs / "stays.log")
    assert (result.failed, result.done, result.outcome) == (1, 2, "failure")
    assert not (tree.logs / "gone.log").exists()
    assert tree.temporaries() == []


def test_a_log_replaced_after_the_plan_is_refused(tmp_path):
    """A log that is another file by the time it is to be rotated is left alone, and so is whoever replaced it."""
    tree = Tree(tmp_path, ROTATE)
    log = tree.log("a.log", b"old\n")
    interval = Interval(tree)
    interval.plan("rotate.all")
    log.rename(tree.logs / "moved")
    log.write_bytes(b"new and longer\n")
    before = tree.contents()
    _, events = interval.apply()
    assert event(events, "rotate.failed")["error"] == "refused"
    assert tree.names() == ["a.log", "moved"]
    assert tree.contents() == before


def test_a_log_cut_after_the_plan_is_refused(tmp_path):
    """A log that is smaller than when it was planned was cut by somebody else, and is left to them."""
    tree = Tree(tmp_path, ROTATE)
    log = tree.log("a.log", b"long enough\n")
    interval = Interval(tree)
    interval.plan("rotate.all")
    os.truncate(log, 4)
    _, events = interval.apply()
    assert "cut" in event(events, "rotate.failed")["error_msg"]
    assert (tree.names(), log.read_bytes()) == (["a.log"], b"long")


def test_a_log_that_grew_after_the_plan_is_rotated_whole(tmp_path):
    """Lines written between plan and apply are in the archive: growing is what logs do."""
    tree = Tree(tmp_path, ROTATE)
    log = tree.log("a.log", b"first\n")
    interval = Interval(tree)
    interval.plan("rotate.all")
    with log.open("ab") as file:
        file.write(b"second\n")
    before = tree.contents()
    result, events = interval.apply()
    assert (result.outcome, event(events, "log.compressed")["in_bytes"]) == ("success", 13)
    assert tree.contents() == before


def test_an_archive_name_taken_after_the_plan_is_not_overwritten(tmp_path):
    """A file, or a directory, that took the archive's name meanwhile stays, and the log stays as well."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a.log", b"the log\n")
    tree.log("b.log", b"another\n")
    interval = Interval(tree)
    archives = [Path(step.target).parent / step.detail for step in interval.plan("rotate.all") if step.verb == "rotate"]
    archives[0].write_bytes(b"somebody else's\n")
    archives[1].mkdir()
    before = tree.contents()
    result, events = interval.apply()
    failed = [found for found in events if found["event"] == "rotate.failed"]
    assert [found["error"] for found in failed] == ["EEXIST", "EEXIST"]
    assert all("left alone" in found["advice"] for found in failed)
    assert result.done == 0
    assert tree.contents() == before
    assert tree.temporaries() == []


def test_an_archive_that_changed_after_the_plan_is_neither_deleted_nor_compressed(tmp_path):
    """Whatever is to be removed must be the planned file, unchanged: else it is refused and stays."""
    tree = Tree(tmp_path, ROTATE + "keep = 1\n")
    tree.log("a.log", b"")
    old = tree.log("a.log.20250101T000000Z.zst", b"old", age=9e6)
    plain = tree.log("a.log.20260101T000000Z", b"plain\n", age=8e6)
    tree.log("a.log.20260201T000000Z.gz", b"newest", age=7e6)
    interval = Interval(tree)
    (delete, *_) = [step for step in interval.plan("rotate.all") if isinstance(step, Action) and step.verb == "delete"]
    assert delete.target == str(old)
    old.write_bytes(b"other")
    plain.write_bytes(b"PLAIN\n")
    before = tree.contents()
    _, events = interval.apply()
    assert {found["error"] for found in events if found["event"] == "expire.failed"} == {"refused"}
    assert tree.contents() == before


def test_a_run_stops_at_its_timeout_and_says_what_it_left_out(tmp_path):
    """A job's timeout ends the run; the steps not tried are named, and the logs are as they were."""
    tree = Tree(tmp_path, ROTATE)
    for name in ("a.log", "b.log"):
        tree.log(name)
    interval = Interval(tree)
    interval.plan("rotate.all")
    hurried = interval.job.model_copy(update={"timeout": timedelta(microseconds=1)})
    job: Any = Frozen(hurried, interval.steps)
    events: list[dict[str, Any]] = []
    log = Log(lambda _: None)
    result = Runner(log).run(Run(name="a.job", job=job, ctx=interval.ctx, listener=events.append))
    log.close()
    assert result.failed == 1
    assert event(events, "rotate.failed")["error"] == TimedOut.__name__.lower()
    assert [found["event"] for found in events].count("action.omitted") == result.planned - 1
    assert tree.names() == ["a.log", "b.log"]


# Jobs and clocks


def test_two_jobs_that_claim_one_log_rotate_it_once(tmp_path):
    """The first job in file order owns a log that two claim; plan says so of the second, and check names both."""
    tree = Tree(tmp_path, ROTATE + '[rotate.again]\npaths = ["LOGS/a.*"]\ncron = "@daily"\n')
    tree.log("a.log")
    (warning,) = [line for line in tree.run("check").stderr.splitlines() if "claims" in line]
    assert "rotate.all" in warning
    assert "rotate.again" in warning
    (step,) = tree.plan("rotate.again")
    assert step["reason"].startswith("belongs to rotate.all")
    assert tree.do("rotate.again").events("log.rotated") == []
    assert len(tree.do().events("log.rotated")) == 1


def test_logs_that_would_share_names_in_one_olddir_are_refused(tmp_path):
    """Two logs of one base name never go into one absolute olddir, where their archives could not be told apart."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*/a.log"]\ncron = "@daily"\nolddir = "HERE/old"\n')
    first, second = tree.log("x/a.log", b"first\n"), tree.log("y/a.log", b"second\n")
    done = tree.do()
    refused = done.events("rotate.refused")
    assert {event["target"] for event in refused} == {str(first), str(second)}
    assert all("olddir" in event["advice"] for event in refused)
    assert done.events("log.rotated") == []
    assert (first.read_bytes(), second.read_bytes()) == (b"first\n", b"second\n")


def test_a_clock_set_back_a_year_neither_stops_rotation_nor_reorders_archives(tmp_path):
    """With archives stamped next year, a log is still rotated, under names that go on rising, and the newest stays."""
    tree = Tree(tmp_path, ROTATE + "keep = 3\n")
    ahead = datetime.now(UTC) + timedelta(days=365)
    stamp = ahead.strftime("%Y%m%dT%H%M%SZ")
    for number, name in enumerate([f"a.log.{stamp}.zst", f"a.log.{stamp}-1.zst", f"a.log.{stamp}-2.zst"]):
        tree.log(name, b"%d" % number)
    for number in (3, 4):
        tree.log("a.log", b"content %d\n" % number)
        assert tree.do().code == 0
        made = tree.logs / f"a.log.{stamp}-{number}.zst"
        assert made.exists(), tree.names()
    assert tree.names() == ["a.log", *(f"a.log.{stamp}-{number}.zst" for number in (2, 3, 4))]
    tree.log("a.log", b"content 5\n")
    for path in tree.logs.glob("a.log.*"):
        tree.make_older(path, 3600)
    job = config.load(str(tree.config)).jobs["rotate.all"]
    ctx = Context(now=datetime.now(UTC), cause=Scheduled(datetime.now(UTC).replace(microsecond=0)))
    assert "rotate" in [step.verb for step in job.plan(ctx) if isinstance(step, Action)]


def test_after_a_clock_jump_nothing_goes_by_age(tmp_path):
    """In the run after the clock was set, no archive is deleted for its age and no file is taken for old."""
    tree = Tree(
        tmp_path,
        ROTATE + 'max_age = "1d"\n[compress.old]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\n',
    )
    tree.log("a.log.20200101T000000Z.zst")
    tree.log("a.log.20210101T000000Z.zst")
    tree.log("a.csv", age=1e6)
    loaded = config.load(str(tree.config))
    for name, verbs in (("rotate.all", ["delete"]), ("compress.old", ["compress"])):
        ctx = contexts.context(loaded, name, datetime.now(UTC), Asked())
        assert _verbs(loaded.jobs[name], ctx) == verbs
        assert _verbs(loaded.jobs[name], replace(ctx, clock_jumped=True)) == []


def _verbs(job: Job, ctx: Context) -> list[str]:
    return [step.verb for step in job.plan(ctx) if isinstance(step, Action)]


def test_growth_of_a_log_that_fell_short_again_rotates_nothing(tmp_path):
    """A log reported as grown that is small by the time of the plan is not rotated: the size on the disk counts."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1K"\n')
    log = tree.log("a.log", b"x" * 2000)
    job = config.load(str(tree.config)).jobs["rotate.all"]
    ctx = Context(now=datetime.now(UTC), cause=Grown(frozenset({str(log)})))
    assert "rotate" in _verbs(job, ctx)
    os.truncate(log, 10)
    assert _verbs(job, ctx) == []


# A command line that ends early


def test_sigterm_ends_a_compression_with_nothing_half_done(tmp_path):
    """`do` that is told to stop removes its temporary, keeps the original and ends with 130."""
    tree = Tree(tmp_path, '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1h"\nlevel = 19\n')
    big = tree.log("big.csv", os.urandom(1 << 20) * 40, age=1e5)
    process = subprocess.Popen(
        [MAINTD, "-c", tree.config, "do", "--all", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout
    assert b'"step"' in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    rest, _ = process.communicate(timeout=20)
    assert process.returncode == 130, rest
    assert tree.names() == ["big.csv"]
    assert big.stat().st_size == 40 << 20


def test_families_pass_over_a_folder_named_like_an_archive(tmp_path):
    """A directory, link or FIFO whose name looks like an archive is never taken for one."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a.log")
    (tree.logs / "a.log.20260101T000000Z").mkdir()
    (tree.logs / "a.log.20260102T000000Z").symlink_to("a.log")
    os.mkfifo(tree.logs / "a.log.20260103T000000Z")
    ((family,), _) = families.find([f"{tree.logs}/*.log"], [], None, OwnFiles())
    assert family.archives == []


@pytest.mark.parametrize(("closed", "code"), [(">&-", 0), ("2>&-", 0), (">/dev/full", 1), (">/dev/full 2>&1", 1)])
def test_a_stdout_that_takes_nothing_keeps_do_from_nothing(tmp_path, closed, code):
    """`do` with stdout or stderr closed or full does all of its work; that its report was lost is told by 1."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a.log")
    tree.log("b.log")
    done = subprocess.run(
        ["sh", "-c", f'"$0" "$@" {closed}', MAINTD, "-c", tree.config, "do", "--all"], check=False, capture_output=True
    )
    assert done.returncode == code
    told = b"maintd: cannot write to stdout: No space left on device\n"
    assert done.stderr == (told if closed == ">/dev/full" else b"")
    assert len([name for name in tree.names() if name.endswith(".zst")]) == 2
