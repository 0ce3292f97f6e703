"""The kind `guard`: what it gives up and in which order, what it never touches, and how it holds a runaway writer."""

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from maintd import ballast
from maintd.clock_store import Reading
from maintd.state import State
from tests.conftest import until
from tests.faults import runaway
from tests.faults.runaway import FLOOR, Scene
from tests.faults.table import Skipped
from tests.tree import Tree

MIB = 1 << 20


@pytest.fixture
def guarded() -> Iterator[Callable[..., Scene]]:
    """Disks of 64 MB with a job for their logs and a guard, whose options may be given."""
    with ExitStack() as stack:

        def make(kind: str = "tmpfs", **options: str) -> Scene:
            try:
                return stack.enter_context(runaway.scene(kind, **options))
            except Skipped as reason:
                pytest.skip(str(reason))

        yield make


def archive(made: Scene, day: int, size: int = 8 * MIB, log: str = "app", suffix: str = ".zst") -> Path:
    """A generation of a log that takes so many bytes; of `.zst` nobody looks into it."""
    path = made.logs / f"{log}.log.202602{day:02d}T000000Z{suffix}"
    with path.open("wb") as file:
        file.write(os.urandom(size // 2).hex().encode()[:size])
    return path


def did(made: Scene, *, code: int = 0) -> list[dict[str, Any]]:
    done = made.maintd("do", "guard.disk", "--json")
    assert done.returncode == code, done.stdout + done.stderr
    return [message for line in done.stdout.splitlines() if (message := json.loads(line))["type"] == "event"]


def plan(made: Scene) -> list[dict[str, Any]]:
    return planned_by(made, "guard.disk")


def planned_by(made: Scene, job: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in made.maintd("plan", job, "--json").stdout.splitlines()]


def add(made: Scene, text: str) -> None:
    """Adds a job to the config."""
    config = made.here / "maintd.toml"
    config.write_text(config.read_text() + text)


def of(events: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [event for event in events if event["event"] in names]


def test_it_deletes_the_oldest_and_stops_as_soon_as_there_is_room(guarded):
    """Of two logs the oldest generations go first, each said with its reason, until the floor is met and no further."""
    made = guarded()
    days = ((1, "app"), (2, "other"), (3, "app"), (4, "app"), (5, "app"), (6, "other"), (7, "other"))
    paths = [archive(made, day, log=log) for day, log in days]
    (made.logs / "other.log").write_bytes(b"")
    made.log.write_bytes(b"")
    filler = made.disk.fill(leave=4 * MIB)
    planned = [step["target"] for step in plan(made) if step.get("verb") == "delete"]
    events = did(made)
    deleted = [event["target"] for event in of(events, "log.expired")]
    assert deleted == planned[: len(deleted)] == [str(path) for path in paths[:2]]
    assert all(
        "free" in event["reason"] and "beyond keep_min 2" in event["reason"] for event in of(events, "log.expired")
    )
    (spared,) = of(events, "steps.spared")
    assert spared["steps"] == len(planned) - 2 == 1
    assert FLOOR <= made.free() < FLOOR + 8 * MIB
    assert filler.exists()
    assert of(events, "job.finished")[0]["spared"] == 1


def test_the_cheapest_comes_first(guarded):
    """The ballast, what the retention has given up anyway, compressing, and only then what is wanted to be kept."""
    made = guarded()
    made.configure(ballast='"4M"', ballast_file=f'"{made.disk.folder}/ballast"')
    did(made)
    assert (made.disk.folder / "ballast").stat().st_size == 4 * MIB
    for day in range(1, 5):
        archive(made, day, 3 * MIB)
    (made.logs / "app.log.20260205T000000Z").write_bytes(b"a line that packs well\n" * 100_000)
    made.log.write_bytes(b"a line that packs well\n" * 50_000)
    made.disk.fill(leave=0)
    verbs = [step["verb"] for step in plan(made) if step["step"] == "action"]
    assert verbs == ["release", "compress", "delete", "delete", "delete", "rotate", "compress", "measure"]
    events = did(made)
    assert [event["event"] for event in events][:2] == ["ballast.released", "log.compressed"]
    assert len(of(events, "log.expired")) == 3
    assert of(events, "log.rotated")


def test_what_is_open_and_the_newest_are_never_deleted(guarded):
    """A generation that somebody reads stays, as do keep_min of each log; what it will not do is said, as an error."""
    made = guarded()
    paths = [archive(made, day, 2 * MIB) for day in range(1, 6)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=MIB)
    with paths[1].open("rb"):
        events = did(made)
    assert [event["target"] for event in of(events, "log.expired")] == [str(paths[0]), str(paths[2])]
    (spent,) = of(events, "guard.spent")
    assert spent["level"] == "error"
    assert spent["free_bytes"] < FLOOR
    assert f"{paths[1]}: not deleted: a process has it open" in spent["kept"]
    assert "the newest 2 of each log" in spent["kept"]
    assert [path.exists() for path in paths] == [False, True, False, True, True]


def test_what_expire_gives_up_goes_first(guarded):
    """Files that an expire job would delete anyway go before any generation; the newest, and what is open, stay."""
    made = guarded()
    days = [made.disk.folder / f"data/2026-02-0{day}.csv" for day in range(1, 8)]
    days[0].parent.mkdir()
    for path in days:
        path.write_bytes(os.urandom(2 * MIB))
    add(made, f'[expire.data]\npaths = ["{days[0].parent}/*.csv"]\nkeep_last = 2\ncron = "@daily"\n')
    kept = [archive(made, day, MIB) for day in range(1, 5)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=FLOOR - 3 * MIB)
    with days[0].open("rb"):
        planned = [step["target"] for step in plan(made) if step.get("verb") == "delete"]
        events = did(made)
    assert planned[:2] == [str(path) for path in days[1:3]]
    assert [event["target"] for event in of(events, "file.expired")] == planned[:2]
    assert "free" in of(events, "file.expired")[0]["reason"]
    assert "keep is 2" in of(events, "file.expired")[0]["reason"]
    assert all(path.exists() for path in kept)


def test_originals_that_are_stored_elsewhere_go_the_oldest_first(guarded, tmp_path: Path):
    """What an archive job has stored on another file system and kept here goes; what has changed since does not."""
    made = guarded()
    files = [made.disk.folder / f"data/{day}.csv" for day in range(1, 7)]
    files[0].parent.mkdir()
    for number, path in enumerate(files):
        path.write_bytes(os.urandom(2 * MIB))
        os.utime(path, (1.7e9 + number, 1.7e9 + number))
    add(
        made,
        f'[archive.data]\npaths = ["{files[0].parent}/*.csv"]\nto = "{tmp_path}/archive"\nolder_than = "1d"\n'
        'cron = "@daily"\nkeep_originals = true\n',
    )
    assert made.maintd("do", "archive.data").returncode == 0
    assert all(path.exists() for path in files)
    assert len(list((tmp_path / "archive").glob("*.zst"))) == 6
    assert not [step for step in planned_by(made, "archive.data") if step["step"] == "action"]
    files[0].write_bytes(os.urandom(2 * MIB))
    os.utime(files[0], (1.7e9, 1.7e9))
    (tmp_path / "archive/2.csv.zst").unlink()
    kept = [archive(made, day, MIB) for day in range(1, 5)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=FLOOR - 3 * MIB)
    events = did(made)
    assert [event["target"] for event in of(events, "file.expired")] == [str(path) for path in files[2:4]]
    assert f"stored as {tmp_path}/archive/3.csv.zst" in of(events, "file.expired")[0]["reason"]
    assert all(path.exists() for path in (*kept, *files[:2], *files[4:]))


def test_what_an_archive_job_gives_up_goes_first_too(guarded):
    """Objects of an archive on the guarded disk that its own rules give up make room before any generation goes."""
    made = guarded()
    folder = made.disk.folder / "data"
    folder.mkdir()
    for day in range(1, 5):
        path = folder / f"2026-02-0{day}.csv"
        path.write_bytes(os.urandom(2 * MIB))
    job = f'[archive.data]\npaths = ["{folder}/*.csv"]\nto = "{made.disk.folder}/archive"\nolder_than = "1d"\n'
    add(made, job + 'compress = "none"\ncron = "@daily"\n')
    assert made.maintd("do", "archive.data").returncode == 0
    add(made, 'keep_last = 1\nmax_share = "100%"\n')
    kept = [archive(made, day, MIB) for day in range(1, 5)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=FLOOR - 3 * MIB)
    gone = [event["target"] for event in of(did(made), "file.expired")]
    assert gone == [f"{made.disk.folder}/archive/2026-02-0{day}.csv" for day in (1, 2)]
    assert all(path.exists() for path in kept)


def test_nothing_is_compressed_that_may_have_no_room_for_its_copy(guarded):
    """On a full disk a generation is left as it is rather than that its copy takes the last bytes; that is said."""
    made = guarded(order='["compress"]')
    path = archive(made, 1, 4 * MIB, suffix="")
    made.log.write_bytes(b"")
    made.disk.fill(leave=MIB)
    assert any("there may be no room for its copy" in step["reason"] for step in plan(made))
    events = did(made)
    assert "there may be no room for its copy" in of(events, "guard.spent")[0]["kept"]
    assert path.stat().st_size == 4 * MIB


def test_order_says_all_that_it_may_do(guarded):
    """What is not in `order` is not done: here nothing that anybody wants to keep is deleted."""
    made = guarded(order='["expired", "compress"]')
    paths = [archive(made, day, 2 * MIB) for day in range(1, 6)]
    made.log.write_bytes(b"x" * MIB)
    made.disk.fill(leave=MIB)
    events = did(made)
    assert not of(events, "log.expired")
    assert of(events, "guard.spent")
    assert all(path.exists() for path in paths)


def test_jobs_that_only_observe_give_nothing(guarded):
    """The logs of a job under `observe` are left alone by the guard, too; a guard that observes does nothing itself."""
    made = guarded()
    paths = [archive(made, day, 2 * MIB) for day in range(1, 6)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=MIB)
    config = made.here / "maintd.toml"
    text = config.read_text()
    config.write_text(text.replace("[guard.disk]\n", "[guard.disk]\nobserve = true\n"))
    assert of(did(made), "action.planned")
    config.write_text(text.replace("keep = 1000\n", "keep = 1000\nobserve = true\n"))
    assert not of(did(made), "log.expired")
    assert all(path.exists() for path in paths)


def test_other_file_systems_are_left_alone(guarded, tmp_path: Path):
    """Archives elsewhere free nothing here, however old they are."""
    made = guarded()
    config = made.here / "maintd.toml"
    config.write_text(config.read_text().replace(f"{made.logs}/*.log", f"{tmp_path}/*.log"))
    for day in range(1, 6):
        (tmp_path / f"app.log.202602{day:02d}T000000Z.zst").write_bytes(b"elsewhere")
    (tmp_path / "app.log").write_bytes(b"x" * MIB)
    made.disk.fill(leave=MIB)
    assert [event["event"] for event in did(made)] == ["guard.spent"]
    assert len(list(tmp_path.iterdir())) == 6


def test_inodes_run_out_too(guarded):
    """With space, but fewer inodes free than are wanted, generations go as well."""
    made = guarded("ext4", min_free='"1M"', min_free_inodes='"50"')
    paths = [archive(made, day, 1000) for day in range(1, 9)]
    made.log.write_bytes(b"")
    number = 0
    while os.statvfs(made.disk.folder).f_favail > 47:
        (made.disk.folder / f"file{number}").touch()
        number += 1
    events = did(made)
    assert [event["target"] for event in of(events, "log.expired")] == [str(path) for path in paths[:3]]
    assert "inodes free" in of(events, "log.expired")[0]["reason"]


def budgeted(folder: Path, most: str, **options: str) -> Tree:
    """Logs with five generations of 2 MB each, and a budget for their directory."""
    tree = Tree(folder)
    more = "".join(f"{key} = {value}\n" for key, value in options.items())
    tree.write_config(
        '[rotate.app]\npaths = ["HERE/**/*.log"]\ncron = "@yearly"\nkeep = 1000\n'
        f'[guard.logs]\ndirectory = "LOGS"\nmax_used = "{most}"\nkeep_min = 2\n{more}'
    )
    for day in range(1, 6):
        tree.log(f"app.log.202602{day:02d}T000000Z.zst", os.urandom(2 * MIB))
    tree.log("app.log", b"")
    return tree


def test_a_directory_is_kept_below_its_budget(tmp_path: Path):
    """The oldest generations below it go until it takes no more than it may; what lies elsewhere does not count."""
    tree = budgeted(tmp_path, "7M")
    beside = tmp_path / "other.log.20250101T000000Z.zst"
    for number in range(4):
        beside.with_name(f"other.log.2025010{number + 1}T000000Z.zst").write_bytes(os.urandom(2 * MIB))
    planned = [step["target"] for step in tree.plan("guard.logs") if step.get("verb") == "delete"]
    did = tree.do("guard.logs")
    assert [event["target"] for event in did.events("log.expired")] == planned[:2]
    assert [os.path.basename(path) for path in planned] == [f"app.log.2026020{day}T000000Z.zst" for day in (1, 2, 3)]
    assert "7.0 MiB are allowed; beyond keep_min 2" in did.events("log.expired")[0]["reason"]
    assert did.event("steps.spared")["steps"] == 1
    assert beside.exists()
    (finding,) = tree.plan("guard.logs")
    assert finding["reason"].endswith("are taken, 7.0 MiB are allowed")


def test_a_budget_that_cannot_be_kept_is_said(tmp_path: Path):
    """With nothing left that may go, directory.spent says what stays, as an error."""
    tree = budgeted(tmp_path, "3M")
    event = tree.do("guard.logs").event("directory.spent")
    assert event["level"] == "error"
    assert event["disk_bytes"] > event["budget_bytes"] == 3 * MIB
    assert "the newest 2 of each log" in event["kept"]
    assert len(tree.names()) == 3


def test_the_daemon_notices_a_budget_that_is_exceeded(guarded):
    """Once a directory takes too much it is said, and mended without anybody asking; then that is said as well."""
    made = guarded()
    config = made.here / "maintd.toml"
    config.write_text(config.read_text().replace(f"min_free = {FLOOR}", 'max_used = "7M"'))
    for day in range(1, 4):
        archive(made, day, 2 * MIB)
    made.log.write_bytes(b"")
    with made.daemon():
        for day in range(4, 7):
            archive(made, day, 2 * MIB)
        until(lambda: made.events("directory.ok"), "that it is within its budget again", 30)
    told = [event["event"] for event in made.events() if event["event"].startswith("directory.")]
    assert told == ["directory.over", "directory.ok"]
    assert len(made.events("log.expired")) == 3  # down to a tenth below the budget
    assert len(made.archives()) == 3


def test_with_room_enough_there_is_nothing_to_do(guarded):
    """Above the floor the plan is empty, and says what is free and what is wanted."""
    made = guarded()
    archive(made, 1)
    (finding,) = plan(made)
    assert finding["step"] == "finding"
    assert finding["reason"].endswith("16.0 MiB are wanted")


def test_check_names_what_is_not_there(tmp_path: Path):
    """A directory that is missing, a ballast on another file system: warnings of `maintd check`, with their places."""
    tree = Tree(tmp_path, '[guard.a]\ndirectory = "HERE/no"\nmin_free = "5%"\n')
    assert "is not guarded" in tree.run("check").stderr
    tree.write_config('[guard.a]\ndirectory = "HERE"\nmin_free = "5%"\nballast = "1M"\nballast_file = "/dev/shm/b"\n')
    assert "is on another file system" in tree.run("check").stderr
    tree.write_config('[storage.a]\ndirectories = ["HERE/no"]\nevery = "1h"\n')
    assert "no: No such file or directory" in tree.run("check").stderr


def test_a_file_that_is_no_ballast_is_never_removed(guarded):
    """A ballast_file that names something else is said to be none, and stays, whatever is short."""
    made = guarded()
    precious = made.disk.folder / "precious"
    precious.write_bytes(b"the only copy")
    made.configure(ballast='"4M"', ballast_file=f'"{precious}"')
    made.disk.fill(leave=MIB)
    assert any("is no ballast of maintd" in step["reason"] for step in plan(made))
    did(made)
    assert precious.read_bytes() == b"the only copy"
    with pytest.raises(Exception, match="no ballast"):
        ballast.release(lambda _: None, seen=_seen(precious))


def _seen(path: Path) -> dict[str, Any]:
    from dataclasses import asdict

    from maintd.steps import Seen

    return asdict(Seen.of(str(path), path.lstat()))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ('min_free = "5%"', "directory: is missing"),
        ('directory = "/srv"', "either min_free"),
        ('directory = "/srv"\nmin_free = "5%"\nmax_used = "2G"', "both are two guards"),
        ('directory = "/srv"\nmax_used = "2G"\nballast = "1M"\nballast_file = "/srv/b"', "ballast goes with min_free"),
        ('directory = "/srv"\nmin_free = "120%"', "more than all of it"),
        ('directory = "/srv"\nmin_free = "much"', "'much' is not a size"),
        ('directory = "/srv"\nmin_free = 0.05', "neither a share nor a size"),
        ('directory = "/srv"\nmin_free = "5%"\norder = []', "order"),
        ('directory = "/srv"\nmin_free = "5%"\norder = ["delete"]', "order"),
        ('directory = "/srv"\nmin_free = "5%"\norder = ["oldest", "oldest"]', "twice"),
        ('directory = "/srv"\nmin_free = "5%"\nballast = "64M"', "given together"),
        ('directory = "/srv"\nmin_free = "5%"\nkeep_min = 0', "keep_min"),
    ],
)
def test_bad_options_are_said(tmp_path: Path, options: str, error: str):
    """Each has its place and says what is wrong with it."""
    tree = Tree(tmp_path, f"[guard.disk]\n{options}\n")
    done = tree.run("check")
    assert done.returncode != 0
    assert error in done.stdout + done.stderr
    assert f"{tree.config}:" in done.stdout + done.stderr


@pytest.mark.parametrize(("kind", "is_full"), [("ext4", False), ("tmpfs", True)])
def test_a_runaway_writer_is_kept_above_the_floor(kind: str, is_full: bool):
    """At 5 MB/s on 64 MB, in place or told, the writer never gets ENOSPC, and what goes was allowed and said."""
    try:
        report = runaway.trial(kind, 7, is_full=is_full)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert report.wrongs == []


def test_it_warns_before_and_says_when_it_is_well_again(guarded):
    """storage.low below warn_free, once; storage.ok when there was room for a while."""
    made = guarded("ext4")
    kept = archive(made, 1, MIB)
    archive(made, 2, MIB), archive(made, 3, MIB)
    with made.daemon():
        filler = made.disk.fill(leave=FLOOR + 4 * MIB)
        until(lambda: made.events("storage.low"), "a warning")
        filler.unlink()
        until(lambda: made.events("storage.ok"), "that all is well", 30)
    assert len(made.events("storage.low")) == 1
    assert made.events("storage.low")[0]["floor_bytes"] == FLOOR
    names = [event["event"] for event in made.events()]
    assert names.index("storage.low") < names.index("storage.ok")
    if made.events("log.expired"):
        assert not kept.exists()


def test_long_work_is_broken_off_for_it_and_begun_anew(guarded, tmp_path: Path):
    """A guard does not wait for the compression of another job: that ends, leaves nothing, and is done after it."""
    made = guarded("ext4")
    config = made.here / "maintd.toml"
    config.write_text(
        config.read_text()
        + f'[compress.big]\npaths = ["{tmp_path}/*.csv"]\nolder_than = "1d"\nevery = "1s"\nlevel = 19\n'
    )
    big = tmp_path / "big.csv"
    subprocess.run(["sh", "-c", f"seq 1 30000000 > {big}; touch -d yesterday-1hour {big}"], check=True)
    for day in range(1, 6):
        archive(made, day, 2 * MIB)
    with made.daemon():
        until(lambda: list(tmp_path.glob("*.maintd-tmp")), "that it compresses", 30)
        made.disk.fill(leave=FLOOR - 3 * MIB)
        until(lambda: made.events("log.expired"), "room", 20)
        assert not made.events("log.compressed")
        until(lambda: list(tmp_path.glob("*.maintd-tmp")), "that it compresses anew", 20)
    assert [path.name for path in tmp_path.iterdir()] == ["big.csv"]


def test_a_guard_that_only_observes_holds_up_nobody(guarded, tmp_path: Path):
    """It says what it would do while another job is at long work, which it neither breaks off nor waits for."""
    made = guarded(observe="true")
    big = tmp_path / "big.csv"
    subprocess.run(["sh", "-c", f"seq 1 15000000 > {big}; touch -d yesterday-1hour {big}"], check=True)
    add(made, f'[compress.big]\npaths = ["{tmp_path}/*.csv"]\nolder_than = "1d"\nevery = "1s"\nlevel = 14\n')
    paths = [archive(made, day, 2 * MIB) for day in range(1, 6)]
    with made.daemon():
        until(lambda: list(tmp_path.glob("*.maintd-tmp")), "that it compresses", 30)
        made.disk.fill(leave=FLOOR - 3 * MIB)
        until(lambda: made.events("action.planned"), "what it would do", 20)
        assert not made.events("log.compressed", "file.compressed"), "it did not wait"
        until(lambda: made.events("log.compressed", "file.compressed"), "that it is compressed", 90)
    assert not made.events("action.omitted")
    assert all(path.exists() for path in paths)


def test_a_guard_that_is_killed_again_and_again_loses_no_line_that_is_kept():
    """Killed within a second or so of its start, on a full disk, it leaves nothing half done, and no line is lost."""
    try:
        report = runaway.killed("ext4", 5)
    except Skipped as reason:
        pytest.skip(str(reason))
    assert report.reached
    assert report.wrongs == []


def test_that_nothing_is_left_is_said_once_until_it_changes(guarded):
    """A guard that can do nothing tries again and again, and says so once, until it leaves another thing alone."""
    made = guarded()
    paths = [archive(made, day, 2 * MIB) for day in range(1, 4)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=MIB)
    with paths[0].open("rb"), made.daemon():
        until(lambda: made.events("guard.spent"), "that nothing is left")
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + 7, "it tried again after 2 s and 4 s more")
        (spent,) = made.events("guard.spent")
        assert str(paths[0]) in spent["kept"]
        with archive(made, 4, 4096, log="other").open("rb"):
            archive(made, 5, 4096, log="other")
            archive(made, 6, 4096, log="other")
            until(lambda: len(made.events("guard.spent")) == 2, "what it leaves alone has changed", 60)
    assert "other.log" in made.events("guard.spent")[1]["kept"]


def test_a_disk_that_is_not_mounted_costs_the_one_below_it_nothing(guarded):
    """On a file system that is smaller than the floor nothing is given up; that is said."""
    made = guarded(min_free='"100M"')
    kept = [archive(made, day, MIB) for day in (1, 2, 3)]
    made.log.write_bytes(b"x")
    with made.daemon():
        (failed,) = until(lambda: made.events("storage.failed"), "that nothing is guarded")
        assert "can never be met" in failed["msg"]
        assert "mount" in failed["advice"]
        did(made, code=1)
    assert all(path.exists() for path in kept)
    assert not made.events("log.expired", "log.rotated")


def test_a_disk_that_was_mounted_once_is_not_taken_for_the_one_below_it(guarded):
    """A guard remembers where its file system was mounted: as long as it is not, the one below loses nothing."""
    made = guarded()
    kept = [archive(made, day, MIB) for day in (1, 2, 3)]
    made.log.write_bytes(b"x")
    data = made.disk.folder / "data"
    data.mkdir()
    made.configure(directory=f'"{data}"', min_free='"40%"')
    mount = ["mount", "-t", "tmpfs", "-o", "size=32m", "none", data]
    subprocess.run(mount, check=True)
    try:
        with made.daemon():
            until(lambda: _is_noted(made, data), "that it is noted")
    finally:
        subprocess.run(["umount", data], check=True)
    made.disk.fill(leave=4 * MIB)
    with made.daemon():
        (failed,) = until(lambda: made.events("storage.failed"), "that nothing is guarded")
        assert f"nothing is mounted at {data} any more" in failed["msg"]
        subprocess.run(mount, check=True)
        try:
            until(lambda: made.events("storage.ok"), "that it is there again")
        finally:
            subprocess.run(["umount", "-l", data], check=True)
    assert [path.exists() for path in kept] == [True, True, True]
    did(made, code=1)
    assert all(path.exists() for path in kept)


def _is_noted(made: Scene, mount: Path) -> bool:
    import sqlite3

    with sqlite3.connect(made.here / "state" / "state.sqlite") as database:
        return (os.fsencode(mount),) in database.execute("SELECT what FROM sample").fetchall()


def test_old_files_are_compressed_the_smallest_first_and_none_without_room(guarded):
    """Of a job `compress` too: a file for whose copy there may be no room is left alone, which is said."""
    made = guarded(order='["compress"]', min_free='"12M"')
    data = made.disk.folder / "data"
    data.mkdir()
    for name, size in (("a.bin", 24 * MIB), ("b.csv", 2 * MIB), ("c.csv", MIB)):
        (data / name).write_bytes(os.urandom(size // 2).hex().encode())
        os.utime(data / name, (1_700_000_000, 1_700_000_000))
    add(made, f'[compress.x]\npaths = ["{data}/*"]\nolder_than = "30d"\nevery = "30d"\n')
    made.disk.fill(leave=11 * MIB)
    planned = plan(made)
    assert [step["target"] for step in planned if step.get("verb") == "compress"] == [f"{data}/c.csv", f"{data}/b.csv"]
    (left,) = [step for step in planned if step["step"] == "finding"]
    assert left["target"] == f"{data}/a.bin"
    assert "no room for its copy" in left["reason"]
    did(made)
    assert (data / "a.bin").exists()
    assert made.free() > 11 * MIB


def test_what_another_user_says_of_an_archive_costs_no_file(guarded, tmp_path: Path):
    """Lines in a manifest that its owner may have made up, with all that stat(1) shows, let no file of root's go."""
    made = guarded(order='["stored"]')
    folder, store = made.disk.folder / "data", made.here / "archive"
    folder.mkdir()
    made.here.chmod(0o755)
    path, theirs = folder / "1.csv", folder / "2.csv"
    for one in (path, theirs):
        one.write_bytes(os.urandom(2 * MIB))
        os.utime(one, (1.7e9, 1.7e9))
    os.chown(theirs, 65534, 65534)
    options = f'paths = ["{folder}/*.csv"]\nto = "{store}"\nolder_than = "1d"\ncron = "@daily"\nkeep_originals = true\n'
    add(made, f"[archive.data]\n{options}")
    assert made.maintd("do", "archive.data").returncode == 0
    for file in (store, store / "maintd-manifest.jsonl"):
        os.chown(file, 65534, 65534)
    (store / "1.csv.zst").write_bytes(b"x" * (store / "1.csv.zst").stat().st_size)
    made.disk.fill(leave=FLOOR - 3 * MIB)
    (left,) = [step for step in plan(made) if step["step"] == "finding"]
    assert left["target"] == str(path)
    assert "it is not believed" in left["reason"]
    did(made)
    assert path.exists()
    assert not theirs.exists()
    assert "gives up no files of others" in made.maintd("check").stderr


def test_a_guard_that_can_do_nothing_holds_up_nobody(guarded, tmp_path: Path):
    """Long work of others is broken off once at most by a guard that has nothing to give up, and then it ends."""
    made = guarded()
    big = tmp_path / "big.csv"
    subprocess.run(["sh", "-c", f"seq 1 15000000 > {big}; touch -d yesterday-1hour {big}"], check=True)
    add(made, f'[compress.big]\npaths = ["{tmp_path}/*.csv"]\nolder_than = "1d"\nevery = "1s"\nlevel = 14\n')
    made.disk.fill(leave=6 * MIB)
    with made.daemon():
        until(lambda: made.events("guard.spent"), "that nothing is left")
        until(lambda: made.events("log.compressed", "file.compressed"), "that it is compressed", 90)
        broken = [event for event in made.events("action.omitted") if event["job"] == "compress.big"]
        assert len(broken) <= 1
        kept = [archive(made, day, MIB) for day in (1, 2, 3)]
        until(lambda: made.events("log.expired"), "that the guard still works", 60)
    assert not kept[0].exists()


def test_a_person_who_runs_a_guard_has_no_other_job_go_by_age(guarded):
    """While the clock is doubted, what another job would delete by its age stays; that job itself a person may run."""
    made = guarded(order='["expired"]')
    folder = made.disk.folder / "data"
    folder.mkdir()
    files = [folder / f"{number}.csv" for number in range(4)]
    for number, path in enumerate(files):
        path.write_bytes(b"x" * MIB)
        os.utime(path, (1.7e9 + number, 1.7e9 + number))
    add(made, f'[expire.old]\npaths = ["{folder}/*"]\nmax_age = "30d"\ncron = "@yearly"\nmax_share = "100%"\n')
    made.disk.fill(leave=MIB)
    (made.here / "state").mkdir(mode=0o700)
    now, state = Reading.now(), State(str(made.here / "state"), lambda _: None)
    state.clock.keep(Reading(now.wall - 366 * 86400, now.since_boot, now.boot), None)
    state.close()
    with made.daemon():
        until(lambda: made.events("clock.doubted"), "that the clock is doubted")
        did(made, code=0)
        did(made, code=0)
        assert all(path.exists() for path in files)
    did(made, code=0)
    assert all(path.exists() for path in files)
    with made.daemon():
        assert made.maintd("do", "expire.old").returncode == 0
    assert [path.exists() for path in files] == [False, False, False, True]


@pytest.mark.parametrize("kind", ["expire", "guard", "archive"])
def test_a_disk_that_is_read_only_is_told_twice_and_not_with_every_file(guarded, tmp_path: Path, kind: str):
    """What cannot be deleted, or put away, because the whole place has failed is tried twice, and the rest counted."""
    made = guarded()
    folder = made.disk.folder / "data"
    folder.mkdir()
    source = tmp_path if kind == "archive" else folder
    for number in range(12):
        path = source / f"{number}.csv"
        path.write_bytes(b"x" * 4096)
        os.utime(path, (1.7e9 + number, 1.7e9 + number))
        archive(made, number + 1, 4096)
    made.log.write_bytes(b"")
    if kind == "expire":
        add(made, f'[expire.x]\npaths = ["{folder}/*"]\nmax_age = "30d"\ncron = "@daily"\nmax_share = "100%"\n')
    if kind == "archive":
        where = f'to = "{folder}"\nolder_than = "1d"\ncron = "@daily"\n'
        add(made, f'[archive.x]\npaths = ["{source}/*.csv"]\n{where}')
    made.disk.fill(leave=MIB)
    subprocess.run(["mount", "-o", "remount,ro", made.disk.folder], check=True)
    done = made.maintd("do", "guard.disk" if kind == "guard" else f"{kind}.x", "--json")
    events = [message for line in done.stdout.splitlines() if (message := json.loads(line))["type"] == "event"]
    assert done.returncode != 0
    assert 1 <= len([event for event in events if event["event"].endswith(".failed")]) <= 4
    (left,) = of(events, "action.omitted")
    assert "left to a later run" in left["msg"]
    assert kind != "guard" or "steps that failed or wait" in of(events, "guard.spent")[0]["kept"]


def test_what_is_refused_is_told_once_an_hour(guarded):
    """Files with a second name are left alone run after run, and each is said once."""
    made = guarded()
    folder = made.disk.folder / "data"
    folder.mkdir()
    for number in range(4):
        (folder / f"{number}.csv").write_bytes(b"x")
        os.utime(folder / f"{number}.csv", (1.7e9 + number, 1.7e9 + number))
        os.link(folder / f"{number}.csv", folder / f"{number}.other")
    add(made, f'[expire.x]\npaths = ["{folder}/*.csv"]\nmax_age = "30d"\nevery = "1s"\nmax_share = "100%"\n')
    with made.daemon():
        until(lambda: len(made.events("file.refused")) >= 3, "what is left alone")
        for number in range(2):
            before = _next(made, "expire.x")
            until(lambda before=before: _next(made, "expire.x") > before, f"run {number}")
    refused = [event["target"] for event in made.events("file.refused")]
    assert len(refused) == len(set(refused)) == 3


def _next(made: Scene, name: str) -> str:
    jobs = json.loads(made.maintd("status", "--json").stdout)["jobs"]
    return next(job["next"] for job in jobs if job["name"] == name)


def test_an_archive_that_cannot_help_is_not_read(guarded, tmp_path: Path):
    """A manifest of years takes seconds: that of an archive on another disk, with no file kept here, is left alone."""
    made = guarded()
    folder = made.disk.folder / "data"
    folder.mkdir()
    (tmp_path / "archive/maintd-manifest.jsonl").mkdir(parents=True)  # to read it would fail
    options = f'paths = ["{folder}/*.csv"]\nto = "{tmp_path}/archive"\nolder_than = "1d"\ncron = "@daily"\n'
    add(made, f"[archive.data]\n{options}keep_last = 1\n")
    kept = [archive(made, day, MIB) for day in range(1, 5)]
    made.log.write_bytes(b"")
    made.disk.fill(leave=FLOOR - MIB)
    assert not [step for step in plan(made) if step["step"] == "finding"]
    did(made)
    assert [path.exists() for path in kept] == [False, True, True, True]
