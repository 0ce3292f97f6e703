"""What is remembered between runs: it survives, and when it cannot, that is said once and nothing else suffers."""

import contextlib
import os
import resource
import signal
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from maintd.events import Event
from maintd.state import ALL_JOBS, Last, Refusal, State, paused
from maintd.steps import Outcome
from maintd.trends import Sample, trend

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
BEFORE_THINNING = 12
"""The version of the database before samples could stand for several."""
OLD_SAMPLES = (
    "CREATE TABLE sample (job TEXT NOT NULL, at TEXT NOT NULL, what BLOB NOT NULL, size INTEGER NOT NULL) STRICT"
)
SOON = NOW + timedelta(hours=1)


class Opened:
    """States of one directory, one after the other, and everything they reported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "state.sqlite"
        self.events: list[Event] = []

    @contextlib.contextmanager
    def __call__(self) -> Iterator[State]:
        state = State(str(self.folder), self.events.append)
        try:
            yield state
        finally:
            state.close()

    def names(self) -> list[str]:
        return [event.name for event in self.events]


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path)


LAST = Last(Outcome.FAILURE, NOW, "2 done, 1 failed")
REFUSAL = Refusal("rotate.a", os.fsdecode(b"/l/\xff.log"), "it is held", "set signal", NOW, "0123abcd", "4711")


def note(state: State) -> None:
    state.record_success("rotate.a", NOW)
    state.record_last("rotate.a", LAST)
    state.refuse(REFUSAL)
    state.pause("rotate.b", None)


def remember(opened: Opened) -> None:
    with opened() as state:
        note(state)


def remembers(opened: Opened) -> bool:
    with opened() as state:
        runs = state.last_success("rotate.a"), state.last("rotate.a"), state.refusals()
        return runs == (NOW, LAST, [REFUSAL]) and state.pauses(NOW) == {"rotate.b": None}


def test_last_successes_and_pauses_survive(opened):
    """What was recorded is there after reopening: the latest success of each job, and pauses with their end."""
    with opened() as state:
        assert state.last_success("rotate.a") is None
        state.record_success("rotate.a", NOW - timedelta(days=1))
        state.record_success("rotate.a", NOW)
        state.pause(ALL_JOBS, SOON)
        state.pause("rotate.b", None)
        state.pause("rotate.c", SOON)
        assert state.resume("rotate.c")
    with opened() as state:
        assert state.last_success("rotate.a") == NOW
        assert state.last_success("rotate.b") is None
        assert state.pauses(NOW) == {ALL_JOBS: SOON, "rotate.b": None}
        assert not state.resume("rotate.c")
    assert opened.events == []


def test_a_pause_ends_at_its_time_or_with_all(opened):
    """A pause that ran out is gone, also for the next start; resuming all jobs ends every pause."""
    with opened() as state:
        state.pause("rotate.a", SOON)
        state.pause("rotate.b", None)
        assert state.pauses(SOON) == {"rotate.b": None}
    with opened() as state:
        assert state.pauses(NOW) == {"rotate.b": None}
        assert state.resume(ALL_JOBS)
        assert not state.resume(ALL_JOBS)
    with opened() as state:
        assert state.pauses(NOW) == {}


def test_how_runs_went_survives(opened):
    """The last run of each job and the refused logs are there after reopening, each as it was noted last."""
    other = replace(REFUSAL, log="/l/b.log")
    remember(opened)
    with opened() as state:
        state.record_last("rotate.a", replace(LAST, outcome=Outcome.SKIPPED, msg="0 done, 1 put off"))
        state.refuse(replace(REFUSAL, reason="its name is too long"))
        state.refuse(other)
    with opened() as state:
        assert state.last("rotate.a") == Last(Outcome.SKIPPED, NOW, "0 done, 1 put off")
        assert state.last("rotate.b") is None
        assert state.refusals() == [other, replace(REFUSAL, reason="its name is too long")]
        state.accept(other)
    with opened() as state:
        assert state.refusals() == [replace(REFUSAL, reason="its name is too long")]
    assert opened.events == []


def test_a_database_of_the_first_version_is_taken_over(opened):
    """What maintd 0.1 remembered is kept, and what came later has room beside it."""
    with contextlib.closing(sqlite3.connect(opened.path)) as database:
        database.executescript(f"""
            CREATE TABLE success (job TEXT PRIMARY KEY, at TEXT NOT NULL) STRICT;
            CREATE TABLE pause (job TEXT PRIMARY KEY, until TEXT) STRICT;
            INSERT INTO success VALUES ('rotate.a', '{NOW.isoformat()}');
            INSERT INTO pause VALUES ('rotate.b', NULL);
            PRAGMA user_version = 1;
        """)
    with opened() as state:
        assert (state.last_success("rotate.a"), state.pauses(NOW)) == (NOW, {"rotate.b": None})
        assert (state.last("rotate.a"), state.refusals()) == (None, [])
        state.record_last("rotate.a", LAST)
        state.refuse(REFUSAL)
    assert remembers(opened)
    assert opened.events == []


def changed(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as database:
            for statement in statements:
                database.execute(statement)

    return change


def empty(version: int) -> Callable[[Path], None]:
    """A database that says it is of this version, and has none of its tables."""

    def make(path: Path) -> None:
        path.unlink()
        changed("CREATE TABLE others (a)", f"PRAGMA user_version = {version}")(path)

    return make


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(changed("PRAGMA user_version = 99"), id="newer"),
        pytest.param(changed("PRAGMA user_version = -1"), id="no version"),
        pytest.param(lambda path: path.write_bytes(b"this is no database" * 500), id="no database"),
        pytest.param(empty(1), id="version 1 without its tables"),
        pytest.param(empty(2), id="version 2 without its tables"),
        pytest.param(changed("DROP TABLE last"), id="without one table"),
        pytest.param(changed("PRAGMA user_version = 0"), id="somebody else's tables"),
        pytest.param(changed("UPDATE success SET at = 'yesterday'"), id="no time"),
        pytest.param(changed("UPDATE last SET outcome = 'superb'"), id="no outcome"),
    ],
)
def test_a_database_that_cannot_be_used_is_set_aside(opened, spoil):
    """It is kept byte by byte under another name, which one state.reset says, and a new one remembers from then on."""
    remember(opened)
    spoil(opened.path)
    before = opened.path.read_bytes()
    with opened() as state:
        assert state.last_success("rotate.a") is None
        assert state.pauses(NOW) == {}
    assert opened.names() == ["state.reset"]
    kept = Path(opened.events[0].set_aside_as)
    assert kept.read_bytes() == before
    assert opened.events[0].reason
    remember(opened)
    assert remembers(opened)
    assert opened.names() == ["state.reset"]


def test_a_locked_database_is_left_alone(opened):
    """Locked by somebody else: work goes on from memory after one state.failed, and what it held is there later."""
    remember(opened)
    with contextlib.closing(sqlite3.connect(opened.path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("DELETE FROM pause WHERE job = 'nobody'")
        with opened() as state:
            goes_on(state)
        other.execute("ROLLBACK")
    assert opened.names() == ["state.failed"]
    assert sorted(path.name for path in opened.folder.iterdir()) == ["state.sqlite"]
    assert remembers(opened)


def goes_on(state: State) -> None:
    """Everything works from memory alone."""
    state.record_success("rotate.x", NOW)
    state.pause("rotate.y", None)
    assert state.last_success("rotate.x") == NOW
    assert "rotate.y" in state.pauses(NOW)
    assert state.resume("rotate.y")
    assert "rotate.y" not in state.pauses(NOW)


def test_a_lock_during_the_work_is_said_once(opened):
    """While another holds the lock, writes fail with one state.failed; after it they are kept again."""
    with opened() as state, contextlib.closing(sqlite3.connect(opened.path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        goes_on(state)
        assert opened.names() == ["state.failed"]
        other.execute("ROLLBACK")
        note(state)
    assert opened.names() == ["state.failed"]
    assert remembers(opened)


@contextlib.contextmanager
def full() -> Iterator[None]:
    """No file of this process can grow (setrlimit(2), RLIMIT_FSIZE), as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_a_full_disk_is_no_reason_to_set_a_database_aside(opened):
    """Full at the start or during the work: one state.failed, work goes on from memory, and what it held is there."""
    remember(opened)
    with full(), opened() as state:
        goes_on(state)
    with opened() as state, full():
        goes_on(state)
    assert opened.names() == ["state.failed"] * 2
    assert remembers(opened)


def killed(opened: Opened, folder: Path) -> Opened:
    """What a maintd leaves that is killed: the write-ahead log holds what it wrote."""
    with opened() as state:
        note(state)
        for name in ("state.sqlite", "state.sqlite-wal"):
            (folder / name).write_bytes((opened.folder / name).read_bytes())
    assert (folder / "state.sqlite-wal").stat().st_size > 0
    return Opened(folder)


def stopped(opened: Opened, _folder: Path) -> Opened:
    remember(opened)
    return opened


def stopped_before_an_upgrade(opened: Opened, _folder: Path) -> Opened:
    remember(opened)
    changed(
        "ALTER TABLE standing DROP COLUMN bad_from",
        "ALTER TABLE incident DROP COLUMN worst_text",
        "DROP TABLE sample",
        OLD_SAMPLES,
        "PRAGMA user_version = 11",
    )(opened.path)
    return opened


@pytest.mark.parametrize("left", [stopped, killed, stopped_before_an_upgrade])
def test_what_is_remembered_is_known_from_the_start_on_a_full_disk(opened, tmp_path, left):
    """Stopped or killed before, of this version or an older one: what is noted on the full disk is kept with room."""
    (tmp_path / "left").mkdir()
    before = left(opened, tmp_path / "left")
    with contextlib.ExitStack() as filled:
        filled.enter_context(full())
        if left is not stopped_before_an_upgrade:
            assert paused(str(before.folder), NOW) == {"rotate.b"}
        with before() as state:
            assert (state.last_success("rotate.a"), state.last("rotate.a")) == (NOW, LAST)
            assert (state.refusals(), state.pauses(NOW)) == ([REFUSAL], {"rotate.b": None})
            state.pause("rotate.c", None)
            state.tick()
            filled.close()
    assert before.names() == ["state.failed"]
    with before() as state:
        assert (state.last_success("rotate.a"), state.last("rotate.a")) == (NOW, LAST)
        assert (state.refusals(), state.pauses(NOW)) == ([REFUSAL], {"rotate.b": None, "rotate.c": None})
    assert before.names() == ["state.failed"]


def test_without_a_database_at_all_the_work_goes_on(opened):
    """Something that is no file in its place stays there: one state.failed, and work goes on from memory."""
    opened.path.mkdir()
    with opened() as state:
        goes_on(state)
    assert opened.names() == ["state.failed"]
    assert opened.path.is_dir()


@pytest.mark.parametrize("by", [timedelta(hours=1), timedelta(hours=-1)])
def test_samples_go_with_a_clock_that_jumps(opened, by):
    """What was measured stays as long ago as it was, each for itself, also where one takes the time of another."""
    samples = [Sample(NOW + number * abs(by), f"restart {number}", 1) for number in range(3)]
    moved = tuple(replace(sample, at=sample.at + by) for sample in samples)
    with opened() as state:
        state.record_samples("limit.a", samples)
        state.shift_samples("limit.a", by)
        assert state.samples("limit.a") == moved
    with opened() as state:
        assert state.samples("limit.a") == moved


def test_sizes_are_kept_as_trends_need_them_however_often_a_job_runs(opened):
    """A run a minute for five days leaves a few samples of the day that goes on and one of each other; trends agree."""
    start = NOW.replace(hour=0) - timedelta(days=4)
    runs = [(start + timedelta(minutes=minute), 10_000_000 + 100 * minute) for minute in range(5 * 1440)]
    every = [Sample(at, "/", size) for at, size in runs]
    with opened() as state:
        for one in every:
            state.record_sizes("storage.a", [one, replace(one, what="/srv")])
        kept = state.samples("storage.a")
        assert kept[-2:] == (every[-1], replace(every[-1], what="/srv"))
        assert len(kept) < 2 * (4 + 40)
        own = trend(sample for sample in kept if sample.what == "/")
        assert own.per_day == pytest.approx(trend(every).per_day, rel=0.01)
    with opened() as state:
        assert sorted(state.samples("storage.a"), key=str) == sorted(kept, key=str)
        state.record_sizes("storage.a", [Sample(NOW + timedelta(days=1), "/", 0)])
        assert len(state.samples("storage.a")) == 2 * 5 + 1
        assert state.samples("storage.a")[0].count > 12


def test_sizes_of_an_older_maintd_are_taken_over(opened):
    """Of what it has kept of a storage job the last of each hour stays, of others all; trends are told from that."""
    times = [NOW - timedelta(days=6) + timedelta(minutes=minute) for minute in range(0, 6 * 1440, 15)]
    with opened():
        pass
    with contextlib.closing(sqlite3.connect(opened.path)) as database:
        database.executescript(f"""
            DROP TABLE sample;
            CREATE TABLE sample (job TEXT NOT NULL, at TEXT NOT NULL, what BLOB NOT NULL, size INTEGER NOT NULL) STRICT;
            CREATE INDEX sample_of_job ON sample (job, at);
            ALTER TABLE incident DROP COLUMN worst_text;
            PRAGMA user_version = {BEFORE_THINNING};
        """)
        rows = [
            (job, at.isoformat(), b"/", place) for place, at in enumerate(times) for job in ("storage.a", "limit.a")
        ]
        database.executemany("INSERT INTO sample VALUES (?, ?, ?, ?)", rows)
        database.commit()
    with opened() as state:
        assert [sample.at for sample in state.samples("limit.a")] == times
        assert [sample.at for sample in state.samples("storage.a")] == times[3::4]
        assert trend(state.samples("storage.a")).per_day == pytest.approx(96)
    assert opened.events == []
