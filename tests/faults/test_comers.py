"""Who opens a log while it is collapsed is seen before the next slice: by a watch, or by a look where there is none."""

import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from maintd import linux

from .holder import Holder
from .lab import ROOT, Call, Ran
from .place import Place
from .scenes import SCENES, Scene
from .trial import Bench, Report

SLICES = replace(SCENES["collapse, slices"], disk=0, collapses=True)
WITHOUT_WATCHES = ["unshare", "-Ur", "sh", "-c", 'echo 0 > /proc/sys/user/max_inotify_watches && exec "$@"', "sh"]
"""A command has a user namespace of its own, whose number of watches is limited to none (namespaces(7))."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


@pytest.fixture
def comer() -> Iterator[Holder]:
    holder = Holder()
    yield holder
    holder.end()


def collapsed(bench: Bench, scene: Scene, comer: Holder) -> tuple[Place, Ran, int]:
    """The scene, in which somebody comes at the first slice, and how many slices were collapsed."""
    place, slices = bench.set(scene), 0

    def decide(call: Call) -> None:
        nonlocal slices
        if call.name == "fallocate" and call.files[0].endswith("/a.log"):
            slices += 1
            if slices == 1:
                comer.open(place.logs / "a.log", "offset")

    return place, bench.play(scene, place, decide), slices


def test_a_collapse_waits_for_who_has_come_without_appending(bench, comer):
    """No slice more is taken out under somebody who writes at an offset; when he has gone it is completed."""
    place, ran, slices = collapsed(bench, SLICES, comer)
    assert (ran.code, slices) == (5, 1), ran
    assert "has come to write the log without appending" in ran.out
    assert place.look().is_safe
    comer.close()
    report = Report("after he has gone")
    bench.recover(SLICES, place, report)
    assert not report.wrongs, report


def test_who_has_come_is_made_to_append_if_the_job_says_so(bench, comer):
    """With adopt the collapse goes on, and what the comer writes then is a line behind the others."""
    scene = replace(SLICES, jobs=SLICES.jobs + "adopt = true\n")
    place, ran, slices = collapsed(bench, scene, comer)
    assert (ran.code, slices) == (0, 3), ran
    comer.write(place.book.text("a.log", 1))
    assert place.look().is_clean, place.look()


def test_it_is_the_same_without_a_watch():
    """Where the kernel has no watch left to give, it is looked before each slice, and the same comes of it."""
    if subprocess.run([*WITHOUT_WATCHES, "true"], check=False, capture_output=True).returncode:
        pytest.skip("no user namespace of its own can be had here: run as root, or allow unprivileged ones")
    opened = (
        "from tests.faults.test_comers import was_opened; import sys; sys.exit(was_opened(sys.argv[1]) != [1, 1, 1])"
    )
    tests = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "who_has_come", __file__]
    for arguments in (["-c", opened, __file__], tests):
        done = subprocess.run(
            [*WITHOUT_WATCHES, sys.executable, *arguments], check=False, capture_output=True, text=True, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout


def test_openings_are_told_and_without_a_descriptor_for_a_watch_each_time(tmp_path):
    """Who opens the file is noticed once, nobody is not; where no watch is to be had, the answer is always yes."""
    (tmp_path / "file").touch()
    assert was_opened(tmp_path / "file") == [False, True, False]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with (tmp_path / "file").open() as file:
        resource.setrlimit(resource.RLIMIT_NOFILE, (file.fileno() + 1, hard))
        try:
            with linux.openings(file.fileno()) as opened:
                found = [opened(), opened()]
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found == [True, True]


def was_opened(path: Path | str) -> list[bool]:
    """What is told of a file before somebody opens it, then, and after that."""
    with open(path) as file, linux.openings(file.fileno()) as opened:
        before = opened()
        os.close(os.open(path, os.O_RDONLY))
        return [before, opened(), opened()]


@pytest.mark.parametrize("name", ["collapse", "pause"])
def test_a_log_that_somebody_else_cuts_meanwhile_keeps_what_came_since(bench, comer, name):
    """Cut by another while it waits for the disk, as copytruncate does, and grown again: none of that is taken out."""
    scene = SCENES[name]
    calls = bench.play(scene, bench.set(scene), beats=False).calls
    begun = next(call.number for call in calls if call.files[0].endswith(".maintd-tmp"))
    for number in [call.number for call in calls[begun:-2] if call.name in ("fsync", "fdatasync")]:
        place = bench.set(scene)
        place.book.may_go |= set(place.book.written["a.log"])
        seen: list[Call] = []

        def decide(call: Call, number: int = number, place: Place = place, seen: list[Call] = seen) -> None:
            if call.number == number:
                seen.append(call)
                os.truncate(place.logs / "a.log", 0)
                comer.open(place.logs / "a.log")
                comer.write(place.book.text("a.log", 400))
                comer.close()

        bench.play(scene, place, decide, beats=False)
        if seen:
            bench.do(place)
            verdict = place.look()
            wrong = verdict.lost or verdict.nul or verdict.temporaries
            assert not wrong, (str(seen[0]), verdict, place.names())


@pytest.mark.parametrize("name", ["collapse", "pause"])
def test_a_log_that_somebody_else_sets_aside_meanwhile_is_left_to_him(bench, name):
    """Renamed by another while it was being archived, as logrotate does: not a byte goes that he is about to read."""
    scene = SCENES[name]
    place = bench.set(scene)
    log, before = place.logs / "a.log", (place.logs / "a.log").read_bytes()

    def decide(call: Call) -> None:
        if call.name == "fsync" and call.files[0].endswith(".maintd-tmp") and log.stat().st_size:
            log.rename(place.folder / "a.log.1")
            log.touch()

    ran = bench.play(scene, place, decide, beats=False)
    assert [event["event"] for event in ran.events(".failed")] == ["rotate.failed"], ran
    assert ((place.folder / "a.log.1").read_bytes(), place.names()) == (before, ["a.log"])
