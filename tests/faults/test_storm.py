"""A bounded part of the storms, and that their verifier sees every fault."""

from dataclasses import replace

import pytest

from . import account, storm, storm_kills
from .account import Account
from .numbered import SPANS, block
from .storm_scenes import STORMS, Storm
from .table import Row, Skipped

LINES = [block(b"a", 0)[begin:end] for begin, end in SPANS]
OTHERS = [block(b"b", 0)[begin:end] for begin, end in SPANS]


def seen(*lines: bytes, **written: int) -> Account:
    return account.tally([b"".join(lines)], written)


def test_whole_logs_have_nothing_wrong():
    """Lines that are all there in order are found whole, wherever files end and however writers take turns."""
    text = b"".join(LINES)
    for cut in (0, 1, 500, len(text) - 1):
        assert account.tally([text[:cut], text[cut:]], {"a": 1000}).is_whole
    turns = [line for pair in zip(LINES, OTHERS, strict=True) for line in pair]
    assert seen(*turns, a=1000, b=1000).is_whole


@pytest.mark.parametrize(
    ("lines", "fault", "count"),
    [
        pytest.param(LINES[:500] + LINES[507:], "lost", 7, id="a gap"),
        pytest.param(LINES[:990], "lost", 10, id="the end"),
        pytest.param(LINES + LINES[3:5], "doubled", 2, id="twice"),
        pytest.param([*LINES[:9], LINES[9][:20], *LINES[10:]], "torn", 1, id="two run into one"),
        pytest.param([*LINES[:9], LINES[9].replace(b"a", b"A"), *LINES[10:]], "torn", 1, id="other letters"),
        pytest.param([*LINES, LINES[0][:15]], "torn", 1, id="a piece at the end"),
        pytest.param([*LINES, OTHERS[0]], "torn", 1, id="nobody's line"),
        pytest.param([*LINES, b" \t \n"], "torn", 1, id="a filler that got into an archive"),
        pytest.param([*LINES[:9], bytes(100), *LINES[9:]], "nul", 100, id="NULs"),
        pytest.param(LINES[5:] + LINES[:5], "disordered", 1, id="order"),
    ],
)
def test_every_fault_is_counted_exactly(lines, fault, count):
    """A log with one fault has exactly this one, in the right number."""
    found = seen(*lines, a=1000)
    assert not found.is_whole
    assert getattr(found, fault) == count, found


def test_what_was_lost_is_told_in_bytes():
    """The bytes of lost lines are known to the byte, wherever they are missing."""
    for lines in (LINES[7:], LINES[:500] + LINES[507:], LINES[:-3], []):
        assert seen(*lines, a=1000).lost_bytes == len(b"".join(LINES)) - len(b"".join(lines))


def test_only_the_head_of_a_file_may_be_filler(tmp_path):
    """A mark of maintd counts as nothing at the head of a live log or an archive, nowhere else and not twice."""
    log = tmp_path / "a.log"
    log.write_bytes(b" \t  \n" + b"".join(LINES[500:]))
    old = tmp_path / "a.log.20260101T000000Z"
    old.write_bytes(b" \n" + b"".join(LINES[:500]))
    assert account.settle(log, {"a": 1000}).is_whole
    old.write_bytes(b" \n" + old.read_bytes())
    assert account.settle(log, {"a": 1000}).torn == 1
    old.write_bytes(b"".join(LINES[:500]) + b" \n")
    assert account.settle(log, {"a": 1000}).torn == 1


@pytest.mark.parametrize("place", ["ext4", "tmpfs"])
def test_storm(place):
    """Whoever writes a log, rotated again and again, every line of it is there once, whole and in order."""
    scenes = [scene for one in STORMS.values() if one.place == place for scene in one.scenes]
    slower = tuple(replace(scene, cast=replace(scene.cast, rate=2000)) for scene in scenes)
    held(lambda: storm.row({place: Storm(place, slower)}, share=0.001, beside=False))


def test_killed_under_the_storm():
    """maintd killed and ended at random times loses no line, leaves no process and no lock, and ends within 2 s."""
    held(lambda: storm_kills.run(0.02))


def held(campaign) -> None:
    try:
        row: Row = campaign()
    except Skipped as reason:
        pytest.skip(str(reason))
    assert row.holds, row
