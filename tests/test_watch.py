"""Growth watching: what grows past its size is reported, soon and once, whatever happens to the directories."""

import contextlib
import math
import os
import queue
import resource
import shutil  # noqa: TID251 - tests set the stage
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from watchdog.observers.inotify_c import InotifyConstants, InotifyFD  # noqa: TID251 - looks at what the kernel is asked

import maintd.inotify
from maintd.growth import LATEST, SOONEST, Sizes, survey
from maintd.inotify import NAMES_ONLY
from maintd.job import Watched
from maintd.triggers import Due, Grown
from maintd.watch import Pace, Watch

LIMIT = 1000
SOON = 30.0  # far more than the promise: the machine that runs the tests may be busy; bench/growth.py measures it


class Inbox:
    """Receives Dues, as the daemon's inbox does."""

    def __init__(self) -> None:
        self.dues: queue.SimpleQueue[Due] = queue.SimpleQueue()
        self.watch = Watch(self.dues.put)

    def next_due(self, seconds: float = SOON) -> tuple[str, set[str]]:
        due = self.dues.get(timeout=seconds)
        assert isinstance(due.cause, Grown)
        return due.job, set(due.cause.paths)

    def reports(self, path: str | Path, seconds: float = SOON) -> bool:
        """Whether the next that is reported is this log, and no other with it; raises queue.Empty if nothing is."""
        return self.next_due(seconds)[1] == {str(path)}

    def is_silent(self, seconds: float = 0.35) -> bool:
        try:
            self.dues.get(timeout=seconds)
        except queue.Empty:
            return True
        return False

    def set(self, *paths: object, job: str = "rotate.a", exclude: tuple[str, ...] = (), limit: int = LIMIT) -> None:
        self.watch.set(job, [Watched(tuple(str(path) for path in paths), exclude, limit)])

    def comes_to(self, condition: Callable[[], object], seconds: float = SOON) -> bool:
        """Whether a condition is met within so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() >= deadline:
                return False
            threading.Event().wait(0.01)
        return True


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    inbox = Inbox()
    yield inbox
    if inbox.watch.alive:
        inbox.watch.stop()


def start(inbox: Inbox, *paths: object, files: int = 0, **options) -> None:
    inbox.set(*paths, **options)
    inbox.watch.start()
    assert inbox.comes_to(lambda: inbox.watch.files == files)
    assert inbox.comes_to(
        lambda: all(job.territory and not job.is_outdated for job in list(inbox.watch._jobs.values()))
    )
    assert inbox.comes_to(lambda: bool(inbox.watch._jobs))


def grow(path: Path, size: int = LIMIT + 1) -> str:
    with path.open("ab") as file:
        file.write(b"x" * size)
    return str(path)


def test_too_large_at_start(inbox, tmp_path):
    """A file that is too large when the watch starts is reported at once, one of exactly max_size is not."""
    large = grow(tmp_path / "large.log")
    grow(tmp_path / "exact.log", LIMIT)
    start(inbox, tmp_path / "*.log", files=2)
    assert inbox.next_due() == ("rotate.a", {large})
    assert inbox.is_silent()


def test_idle_then_grows(inbox, tmp_path):
    """A log that had been idle is reported as soon as it passes the size."""
    (tmp_path / "a.log").touch()
    start(inbox, tmp_path / "*.log", files=1)
    assert inbox.is_silent(0.3)
    assert inbox.reports(grow(tmp_path / "a.log"))


def test_created_a_moment_ago(inbox, tmp_path):
    """A log that did not exist at the start is reported when it passes the size."""
    start(inbox, tmp_path / "*.log")
    assert inbox.reports(grow(tmp_path / "new.log"))


def test_renamed_into_place(inbox, tmp_path):
    """A log that is moved in from a directory that nobody watches is reported."""
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    grow(tmp_path / "out" / "a")
    start(inbox, tmp_path / "in" / "*.log")
    (tmp_path / "out" / "a").rename(tmp_path / "in" / "a.log")
    assert inbox.reports(tmp_path / "in" / "a.log")


def test_new_log_after_the_old_was_moved_out(inbox, tmp_path):
    """A new log is seen at once although the old one has just left the directory (as with olddir)."""
    (tmp_path / "old").mkdir()
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.log").touch()
    start(inbox, tmp_path / "logs" / "*.log", files=1)
    (tmp_path / "logs" / "a.log").rename(tmp_path / "old" / "a.log.1")
    assert inbox.reports(grow(tmp_path / "logs" / "b.log"))


@pytest.mark.parametrize("pattern", ["*/*.log", "**/*.log", "*/deep/*.log", "**"])
def test_directory_made_after_start(inbox, tmp_path, pattern):
    """A log in a directory made after the start is reported, however deep the pattern."""
    start(inbox, tmp_path / pattern)
    directory = tmp_path / "made" / "deep" if pattern != "*/*.log" else tmp_path / "made"
    directory.mkdir(parents=True)
    assert inbox.reports(grow(directory / "a.log"))


def test_root_missing_at_start(inbox, tmp_path):
    """A log below a fixed root that did not exist at the start, nor its parents, is reported."""
    root = tmp_path / "srv" / "app" / "logs"
    start(inbox, root / "*.log")
    root.mkdir(parents=True)
    assert inbox.reports(grow(root / "a.log"))


def test_removed_and_made_again(inbox, tmp_path):
    """After each of 200 removals of a directory, a log in the one made again is reported."""
    directories = [tmp_path / f"logs{n}" for n in range(10)]
    for directory in directories:
        directory.mkdir()
    start(inbox, *(directory / "*.log" for directory in directories))
    for _ in range(20):
        awaited = {grow(directory / "a.log") for directory in directories}
        while awaited:
            awaited -= inbox.next_due()[1]
        for directory in directories:
            shutil.rmtree(directory)
            directory.mkdir()
    assert inbox.comes_to(lambda: inbox.watch.files == 0)


def test_parents_removed_and_made_again(inbox, tmp_path):
    """The directory above the root may go and come back, too."""
    root = tmp_path / "srv" / "app" / "logs"
    root.mkdir(parents=True)
    start(inbox, root / "*.log")
    for _ in range(10):
        shutil.rmtree(tmp_path / "srv")
        root.mkdir(parents=True)
        assert inbox.reports(grow(root / "a.log"))


def test_ancestor_renamed(inbox, tmp_path):
    """A directory far above the root is moved away and another one takes its place."""
    root = tmp_path / "srv" / "app" / "logs"
    root.mkdir(parents=True)
    (root / "a.log").touch()
    other = tmp_path / "other" / "app" / "logs"
    other.mkdir(parents=True)
    start(inbox, root / "*.log", files=1)
    (tmp_path / "srv").rename(tmp_path / "gone")
    (tmp_path / "other").rename(tmp_path / "srv")
    assert inbox.reports(grow(root / "b.log"))
    grow(tmp_path / "gone" / "app" / "logs" / "a.log")
    assert inbox.is_silent()


def test_directory_renamed_below_the_root(inbox, tmp_path):
    """A directory that was renamed is watched under its new name, and no longer under its old one."""
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "a.log").touch()
    start(inbox, tmp_path / "*" / "*.log", files=1)
    (tmp_path / "one").rename(tmp_path / "two")
    assert inbox.reports(grow(tmp_path / "two" / "a.log"))
    assert inbox.reports(grow(tmp_path / "two" / "b.log"))


def test_link_in_the_root_changes(inbox, tmp_path):
    """When a symbolic link on the way to the root points elsewhere, the logs there are watched instead."""
    for name in ("one", "two"):
        (tmp_path / name / "logs").mkdir(parents=True)
        (tmp_path / name / "logs" / "a.log").touch()
    (tmp_path / "current").symlink_to("one")
    start(inbox, tmp_path / "current" / "logs" / "*.log", files=1)
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").rename(tmp_path / "current")
    assert inbox.reports(grow(tmp_path / "two" / "logs" / "a.log"))
    grow(tmp_path / "one" / "logs" / "a.log")
    assert inbox.is_silent()


def test_never_reported(inbox, tmp_path):
    """Small, excluded and own files, links, directories and other names are never reported, old or new."""

    def make(prefix: str) -> None:
        grow(tmp_path / f"{prefix}-exact.log", LIMIT)
        grow(tmp_path / f"{prefix}-debug.log")
        grow(tmp_path / f"{prefix}.log.20260101T000000Z.log.20260101T000000Z")
        grow(tmp_path / f"{prefix}.log.maintd-tmp")
        grow(tmp_path / f"{prefix}.txt")
        (tmp_path / f"{prefix}-link.log").symlink_to(tmp_path / f"{prefix}.txt")
        (tmp_path / f"{prefix}-directory.log").mkdir()

    make("old")
    start(
        inbox, tmp_path / "*.log", tmp_path / "*.log*", exclude=(str(tmp_path / "*-debug.log"),), files=1, limit=LIMIT
    )
    make("new")
    assert inbox.comes_to(lambda: inbox.watch.files == 2)
    assert inbox.is_silent()


def test_once_until_settled(inbox, tmp_path):
    """A file is reported once; again, later, if it is still too large after a run; at once if it was replaced."""
    log = tmp_path / "a.log"
    grow(log)
    start(inbox, log, files=1)
    assert inbox.reports(log)
    grow(log)
    assert inbox.is_silent()
    inbox.watch.settled("rotate.a", [str(log)])
    before = time.monotonic()
    assert inbox.reports(log)
    assert time.monotonic() - before > SOONEST / 2
    log.rename(tmp_path / "a.log.1")
    grow(log)
    assert inbox.reports(log)


def test_emptied_and_grown_again(inbox, tmp_path):
    """A file that was emptied in place is reported when it passes the size again."""
    log = tmp_path / "a.log"
    grow(log, 4 * LIMIT)
    start(inbox, log, files=1)
    for times in (3, 2):
        assert inbox.reports(log)
        os.truncate(log, 0)
        grow(log, times * LIMIT)
    assert inbox.reports(log)


def test_backoff_doubles_up_to_five_minutes(tmp_path):
    """A file that stays too large is reported 1, 2, 4, … at most 300 seconds after each run that did not help."""
    log = grow(tmp_path / "a.log")
    sizes = Sizes()
    sizes.add("job", log, LIMIT)
    now, waits = 0.0, []
    assert sizes.poll(now)
    for _ in range(12):
        sizes.settle("job", [log], now)
        wait = next(w for w in (2.0**n for n in range(10)) if sizes.poll(now + min(w, LATEST)))
        waits.append(min(wait, LATEST))
        now += waits[-1]
    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]


def test_what_was_rotated_in_place_is_reported_at_once_if_it_is_too_large_again(tmp_path):
    """A log that a run has rotated, and that has grown past the size of its first report before anybody looked, is no
    log that a run did not help: its next rotation is not put off, however often that happens."""
    log = grow(tmp_path / "a.log")
    sizes = Sizes()
    sizes.add("job", log, LIMIT)
    assert sizes.poll(0)
    for now in range(1, 20):
        grow(tmp_path / "a.log", 10 * LIMIT)
        sizes.relieve("job", [log])
        assert sizes.poll(now) == {"job": {log}}


def test_what_gets_smaller_by_itself_does_not_end_the_waiting(tmp_path):
    """A log that its service trims, and that no run has rotated, is reported later and later all the same."""
    log, reports = grow(tmp_path / "a.log", 3 * LIMIT), 0
    sizes = Sizes()
    sizes.add("job", log, LIMIT)
    for now in range(60):
        os.truncate(log, (3 + now % 2) * LIMIT)
        if sizes.poll(now):
            reports += 1
            sizes.settle("job", [log], now)
    assert reports == 6, "at 0, 1, 3, 7, 15 and 31 s"


def test_unanswered_report_is_repeated(tmp_path):
    """If nobody says that a run has ended, the file is reported again after five minutes."""
    sizes = Sizes()
    sizes.add("job", grow(tmp_path / "a.log"), LIMIT)
    assert sizes.poll(0)
    assert not sizes.poll(LATEST - 1)
    assert sizes.poll(LATEST)


def test_what_was_only_observed_is_reported_once_for_each_growth(tmp_path):
    """Settled with `once`, a file that stays too large is not reported again, however long; one that grows anew is."""
    log = grow(tmp_path / "a.log")
    sizes = Sizes()
    sizes.add("job", log, LIMIT)
    assert sizes.poll(0)
    sizes.settle("job", [log], 0, once=True)
    grow(tmp_path / "a.log", 10 * LIMIT)
    assert not sizes.poll(1_000_000)
    os.truncate(log, 0)
    assert not sizes.poll(1_000_001)
    grow(tmp_path / "a.log")
    assert sizes.poll(1_000_002)


def test_two_jobs_one_log(tmp_path):
    """Two jobs may watch one log, each with its own size."""
    log = grow(tmp_path / "a.log", 100)
    sizes = Sizes()
    sizes.add("small", log, 50)
    sizes.add("large", log, 200)
    assert sizes.poll(0) == {"small": {log}}
    grow(tmp_path / "a.log", 150)
    assert sizes.poll(1) == {"large": {log}}
    sizes.forget("small")
    sizes.forget("large")
    assert len(sizes) == 0


def test_set_and_remove_while_running(inbox, tmp_path):
    """Jobs come, change and go while the watch runs; the others notice nothing."""
    one, two = tmp_path / "one.log", tmp_path / "two.log"
    grow(one)
    two.touch()
    start(inbox, one, files=1)
    assert inbox.next_due() == ("rotate.a", {str(one)})
    inbox.set(two, job="rotate.b")
    assert inbox.comes_to(lambda: inbox.watch.files == 2)
    grow(two, 10)
    inbox.set(two, job="rotate.b", limit=5)
    assert inbox.next_due() == ("rotate.b", {str(two)})
    inbox.watch.remove("rotate.b")
    assert inbox.comes_to(lambda: inbox.watch.files == 1)
    grow(two)
    assert inbox.is_silent()


def test_out_of_descriptors(inbox, tmp_path):
    """Without a descriptor left to read directories with, the logs that are known stay watched."""
    log = tmp_path / "a.log"
    log.touch()
    start(inbox, tmp_path / "*.log", files=1)
    with log.open("ab") as file, no_descriptors_left():
        inbox.set(tmp_path / "*.log", limit=LIMIT + 1)
        assert inbox.comes_to(lambda: not inbox.watch._jobs["rotate.a"].territory.files)
        file.write(b"x" * (LIMIT + 2))
    assert inbox.reports(log)


@contextlib.contextmanager
def no_descriptors_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = [os.open("/dev/null", os.O_RDONLY)]
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(taken[0], 100), hard))
    try:
        with contextlib.suppress(OSError):
            while True:
                taken.append(os.open("/dev/null", os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for descriptor in taken:
            os.close(descriptor)


ENDS = """
import os, sys, threading, time
from maintd.job import Watched
from maintd.watch import Watch

before = threading.active_count(), len(os.listdir("/proc/self/fd"))
watch = Watch(lambda due: None)
assert not watch.alive
watch.set("rotate.a", [Watched((sys.argv[1],), (), 1000)])
watch.start()
while not (watch.alive and watch.files):
    time.sleep(0.01)
watch.stop()
assert not watch.alive
after = threading.active_count(), len(os.listdir("/proc/self/fd"))
assert after == before, (before, after)
"""


def test_threads_end(tmp_path):
    """stop() leaves no thread and no descriptor behind; alive says so. In a process where nothing else opens any."""
    grow(tmp_path / "a.log", 1)
    subprocess.run([sys.executable, "-c", ENDS, tmp_path / "**" / "*.log"], check=True, timeout=SOON)


def test_dead_reader_is_noticed(inbox, tmp_path):
    """When watchdog's thread has ended, the watch is not alive, so that the daemon can exit."""
    start(inbox, tmp_path / "*.log")
    kernel = inbox.watch._directories._kernel
    kernel.stop()
    kernel.join()
    assert not inbox.watch.alive
    inbox.watch.stop()


def test_modifications_are_not_asked_for(inbox, tmp_path):
    """A storm of 60,000 lines wakes watchdog not once: the kernel is asked for names only."""
    logs = [tmp_path / f"{n}.log" for n in range(12)]
    for log in logs:
        log.touch()
    start(inbox, tmp_path / "*.log", files=12, limit=10**9)
    heard = []
    inbox.watch._directories.on_event = heard.append
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(log.open("ab", buffering=0)) for log in logs]
        for n in range(60_000):
            files[n % 12].write(b"a line of a log\n")
    (tmp_path / "last").touch()
    assert inbox.comes_to(lambda: b"last" in [event.name for event in heard])
    names = {path.name.encode() for path in tmp_path.iterdir()}  # others may be at work in the directories above it
    assert [event.name for event in heard if event.name in names] == [b"last"]
    assert not NAMES_ONLY & (InotifyConstants.IN_MODIFY | InotifyConstants.IN_ATTRIB | InotifyConstants.IN_CLOSE_WRITE)


def test_lost_events(inbox, tmp_path):
    """After an overflow of the kernel's queue everything is read again."""
    start(inbox, tmp_path / "*" / "*.log")
    directories = inbox.watch._directories
    directories.on_event = lambda _: None  # lost
    (tmp_path / "made").mkdir()
    log = grow(tmp_path / "made" / "a.log")
    assert inbox.is_silent()
    directories.on_queue_overflow()
    assert inbox.reports(log)


def test_more_hints_than_worth_reading(inbox, tmp_path, monkeypatch):
    """Very many new names at once are found, by reading the directory anew."""
    start(inbox, tmp_path / "*.log")
    monkeypatch.setattr(maintd.inotify, "MANY_HINTS", 100)
    for n in range(400):
        (tmp_path / f"{n}.log").touch()
    assert inbox.comes_to(lambda: inbox.watch.files == 400)


@pytest.mark.parametrize("part", ["instance", "watches"])
def test_without_inotify(inbox, tmp_path, monkeypatch, part):
    """Where the kernel's limits leave no watches, new logs are still found, by reading more often; degraded says so."""

    def refused(*_: object) -> int:
        raise OSError(24 if part == "instance" else 28, "limit reached")

    monkeypatch.setattr(Pace, "SURVEY_EVERY_UNHINTED", 0.3)
    method = "_create_inotify_fd" if part == "instance" else "_get_or_create_watch"
    monkeypatch.setattr(InotifyFD, method, refused)
    start(inbox, tmp_path / "*.log")
    assert inbox.comes_to(lambda: "fs.inotify" in inbox.watch.degraded)
    assert inbox.watch.alive
    assert inbox.watch.bound >= 0.3
    log = grow(tmp_path / "new.log")
    assert inbox.reports(log)
    monkeypatch.undo()
    assert inbox.comes_to(lambda: not inbox.watch.degraded)
    hinted = grow(tmp_path / "hinted.log")
    while hinted not in inbox.next_due()[1]:  # the other one may be reported anew: it could be another file by now
        pass


def test_pace_stays_below_its_budget():
    """Whatever polls and surveys cost, their share of a core is within the budget once there are many files."""
    for poll_cost in (1e-5, 0.001, 0.03, 0.5):
        for survey_cost in (0.0, 0.01, 0.3, 5.0):
            pace = Pace(poll_cost=poll_cost, survey_cost=survey_cost)
            share = poll_cost / pace.poll_every(10_000) + survey_cost / pace.survey_every
            assert share <= Pace.BUDGET * 1.0001
            assert pace.poll_every(10_000) >= Pace.QUICKEST
            assert pace.poll_every(400) <= Pace.SLOWEST_FOR_FEW
    assert Pace().poll_every(0) == Pace.QUICKEST


def test_ten_thousand_files(inbox, tmp_path):
    """With 10,000 files the bound grows as their cost demands, and stays finite."""
    for n in range(10_000):
        os.close(os.open(tmp_path / f"{n}.log", os.O_CREAT | os.O_WRONLY))
    start(inbox, tmp_path / "*.log", files=10_000)
    assert inbox.comes_to(lambda: inbox.watch.bound > Pace.QUICKEST)
    pace = inbox.watch._pace
    assert inbox.watch.bound >= pace.poll_cost / Pace.BUDGET * 0.5
    assert math.isfinite(inbox.watch.bound)


def test_odd_names(tmp_path):
    """Names that are not UTF-8, and those with wildcards in them, are watched like any other."""
    odd = [os.fsencode(tmp_path) + b"/\xff.log", os.fsencode(tmp_path / "a[1]*.log"), os.fsencode(tmp_path / "b\n.log")]
    for name in odd:
        Path(os.fsdecode(name)).write_bytes(b"x" * (LIMIT + 1))
    sizes = Sizes()
    sizes.replace("job", survey([Watched((f"{tmp_path}/*.log",), (), LIMIT)]))
    assert {os.fsencode(path) for path in sizes.poll(0)["job"]} == set(odd)


def test_storm_of_a_writer_process(inbox, tmp_path):
    """A writer in another process is reported each time that its log was replaced and has grown again."""
    log = tmp_path / "a.log"
    log.touch()
    start(inbox, log, files=1, limit=100_000)
    code = (
        "import sys, os\n"
        "while True:\n"
        "    with open(sys.argv[1], 'ab', buffering=0) as log:\n"
        "        while os.fstat(log.fileno()).st_nlink:\n"
        "            log.write(b'x' * 100 + b'\\n')\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(log)], stderr=subprocess.DEVNULL) as writer:
        try:
            for _ in range(5):
                assert inbox.reports(log)
                log.unlink()
        finally:
            writer.kill()


def test_a_stop_ends_a_look_around(inbox, tmp_path):
    """Told to stop while it looks for files, which with six `**` takes minutes in 30 directories, it ends at once."""
    tmp_path.joinpath(*"abcdefghijklmnopqrstuvwxyzabcd").mkdir(parents=True)
    inbox.set(f"{tmp_path}/{'**/' * 6}*.log")
    inbox.watch.start()
    assert inbox.comes_to(lambda: inbox.watch._jobs)
    inbox.watch.stop(SOON)
    assert not inbox.watch.alive


# Several groups


def test_each_group_of_a_job_has_its_own_limit(inbox, tmp_path):
    """A job's groups have limits of their own; a file that two of them name goes by the first, watched or not."""
    for name in ("large.log", "small.log", "never.log"):
        (tmp_path / name).write_bytes(b"x" * 2 * LIMIT)
    groups = [
        Watched((f"{tmp_path}/never.log",), (), None),
        Watched((f"{tmp_path}/large*.log",), (), 4 * LIMIT),
        Watched((f"{tmp_path}/*.log",), (), LIMIT),
    ]
    inbox.watch.set("rotate.a", groups)
    inbox.watch.start()
    assert inbox.reports(tmp_path / "small.log")
    assert inbox.is_silent()
    (tmp_path / "large.log").write_bytes(b"x" * 5 * LIMIT)
    assert inbox.reports(tmp_path / "large.log")
    (tmp_path / "large-2.log").write_bytes(b"x" * 2 * LIMIT)
    (tmp_path / "small-2.log").write_bytes(b"x" * 2 * LIMIT)
    assert inbox.reports(tmp_path / "small-2.log")
    assert inbox.is_silent()


def test_what_is_watched_already_is_not_begun_anew(inbox, tmp_path):
    """Setting what a job watches to the same reports nothing again; setting it to nothing ends it."""
    (tmp_path / "a.log").write_bytes(b"x" * 2 * LIMIT)
    groups = [Watched((f"{tmp_path}/*.log",), (), LIMIT)]
    inbox.watch.set("rotate.a", groups)
    inbox.watch.start()
    assert inbox.reports(tmp_path / "a.log")
    inbox.watch.set("rotate.a", list(groups))
    assert inbox.is_silent()
    inbox.watch.set("rotate.a", [])
    assert inbox.comes_to(lambda: not inbox.watch.files)
