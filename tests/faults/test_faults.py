"""A sample of the campaigns: a few faults of every kind in every scene. All of them: python -m tests.faults."""

from collections.abc import Iterable, Iterator, Sequence

import pytest

from . import errnos, forgetting, kills, power, space
from .crew import spread
from .disk import LOSE_JOURNAL
from .disk_bench import DiskBench
from .scenes import SCENES, Scene
from .table import Skipped
from .trial import Bench, Report

ALONE = (
    "nobody",
    "olddir",
    "zstd",
    "expire",
    "two logs",
    "archive",
    "archive, renamed",
    "archive, bundled",
    "archive, thinned out",
    "expire files",
    "guard",
)
HELD = ("signal", "supervisord", "command", "by itself", "collapse", "collapse, part by part", "adopt", "pause")
ALL_BY_THEMSELVES = [SCENES[name] for name in ALONE]
SYNCED = [SCENES[name] for name in (*ALONE[2:6], *HELD) if name not in ("command", "adopt")]
ONE_OF_EACH_RUNG = [SCENES[name] for name in (*ALONE, *HELD)]


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


@pytest.fixture(scope="module")
def powered() -> Iterator[DiskBench]:
    try:
        with DiskBench() as made:
            yield made
    except Skipped as reason:
        pytest.skip(str(reason))


def some(items: Sequence, count: int, scene: Scene) -> Sequence:
    """So many of the items, others for each scene."""
    first = len(scene.name) % max(1, len(items) // count)
    return spread(items[first:], count / len(items))


def held(reports: Iterable[Report]) -> None:
    reached = [report for report in reports if report.reached]
    assert reached, "no fault took place"
    assert not [str(report) for report in reached if report.wrongs]


@pytest.mark.parametrize("scene", [*ONE_OF_EACH_RUNG, SCENES["reload"]], ids=lambda scene: scene.name)
def test_after_a_kill_and_another_in_the_recovery_every_line_is_there_once(bench, scene):
    """Killed at a system call, and again while it recovers, maintd converges by itself and loses nothing."""
    points = list(kills.points(bench, scene))
    held(report for point in some(points, 1, scene) for report in kills.trials(bench, point, again=30))


@pytest.mark.parametrize("scene", ONE_OF_EACH_RUNG, ids=lambda scene: scene.name)
def test_a_system_call_that_fails_is_said_once_and_made_up_for(bench, scene):
    """Whatever call fails, nothing is lost or left, one event says so, and the next run succeeds."""
    points = list(errnos.points(bench, scene))
    held(report for point in some(points, 1, scene) for report in errnos.trial(bench, point))


@pytest.mark.parametrize("scene", SYNCED, ids=lambda scene: scene.name)
def test_after_a_power_cut_every_line_and_what_was_said_is_there(bench, powered, scene):
    """After a power cut on ext4 every line is whole, what events said is so, and the next run converges."""
    cuts = list(power.cuts(bench, scene))
    held(report for cut in some(cuts, 1, scene) for report in power.trial(powered, cut))


def test_a_log_that_its_writer_never_synced_is_not_archived_and_there_too(bench, powered):
    """A log is on the disk before it is noted what is to go from it: after a power cut no line is there twice."""
    scene = SCENES["collapse, unsynced"]
    calls = bench.play(scene, bench.set(scene), beats=False).calls
    marked = next(call.number for call in calls if call.name == "pwrite64" and call.files[0].endswith("/a.log"))
    held(power.trial(powered, power.Cut(scene.name, marked, LOSE_JOURNAL)))


@pytest.mark.parametrize(("without", "scene"), [("files", "zstd"), ("directories", "nobody")])
def test_the_power_cut_sees_a_missing_fsync(bench, powered, without, scene):
    """The proof is worth something: without fsync of files, or of directories, a power cut finds something broken."""
    (*_, after_the_end, _) = power.cuts(bench, SCENES[scene], without)
    assert after_the_end.how == LOSE_JOURNAL
    assert any(report.wrongs for report in power.trial(powered, after_the_end))


@pytest.mark.parametrize("scene", [*ALL_BY_THEMSELVES, SCENES["signal"]], ids=lambda scene: scene.name)
def test_a_disk_that_forgets_what_was_not_synced_loses_no_line(bench, scene):
    """Whatever a power cut may leave of what was not synced, every line is whole, and the next run converges."""
    states = forgetting.states(bench, scene)
    held(report for state in some(states, 1, scene) for report in forgetting.trial(bench, state))


@pytest.mark.parametrize("without", ["files", "directories"])
def test_the_forgetful_disk_sees_a_missing_fsync(bench, without):
    """The model is worth something: without fsync of files, or of directories, it loses lines."""
    states = forgetting.states(bench, SCENES["zstd"], without)
    lost = (report.counts.lost for state in reversed(states) for report in forgetting.trial(bench, state))
    assert any(lost)


@pytest.mark.parametrize("kind", space.KINDS)
def test_a_full_disk_and_a_read_only_one_lose_nothing_and_are_made_up_for(kind):
    """With too little space, or read-only in the middle, nothing is lost or left, and the next run succeeds."""
    try:
        with DiskBench(kind) as bench:
            for level in spread(space.levels(kind), 0.02):
                held(space.fill(bench, level))
            points = spread(list(space.read_onlies(kind)), 0.015)
            held(report for point in points for report in space.stop(bench, point))
    except Skipped as reason:
        pytest.skip(str(reason))
