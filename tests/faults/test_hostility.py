"""A bounded part of the campaigns that put something odd in maintd's way: inodes, names, holders, outputs, configs."""

import os
import signal
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from maintd.names import printable
from tests.tree import Tree

from . import config_fuzz, hostile_names, leases, odd_names, outputs
from .deeds import COMPRESS, ROTATE, allowed
from .odd_inodes import POWERLESS
from .odd_scene import Scene
from .resident import resident
from .table import Row, Skipped


def held(campaign: object, share: float) -> Row:
    try:
        row: Row = campaign.run(share)
    except Skipped as reason:
        pytest.skip(str(reason))
    return row


NEEDS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="devices, mounts and leases on others' files: run as root")


@NEEDS_ROOT
@pytest.mark.parametrize(
    ("kind", "when", "job"),
    [
        ("FIFO", "after", "rotate"),
        ("dangling link", "after", "compress"),
        ("link to a directory", "before", "rotate"),
        ("device", "after", "rotate"),
        ("1 TiB, sparse", "before", "rotate"),
        ("chattr +a", "before", "compress"),
        ("chattr +i", "after", "rotate"),
        ("mount point", "before", "rotate"),
        (POWERLESS, "before", "rotate"),
        ("hard link", "before", "rotate"),
        ("set-user-ID", "before", "rotate"),
        ("set-user-ID", "after", "rotate"),
    ],
)
def test_what_is_no_honest_file_is_refused_with_its_reason(kind, when, job):
    """Whatever lies where a file should, before the plan or only after it: refused with its reason, nothing touched."""
    scene = Scene(kind, when, {"rotate": ROTATE, "compress": COMPRESS}[job])
    scene.play()
    assert scene.faults == []
    assert {deed: outcome for deed, outcome in scene.outcomes.items() if outcome not in allowed(kind, deed, when)} == {}


def test_hostile_names_are_rotated_told_and_given_to_no_shell():
    """A twentieth of the names, held open by a service and with hooks: each event parses, each file is its own."""
    row = held(hostile_names, 0.05)
    assert row.holds, row


def test_a_name_can_be_read_back_from_what_an_event_shows():
    """What an event shows of a name is printable, and no two names are shown alike."""
    for names in odd_names.groups().values():
        for name in names:
            shown = printable(name.decode("utf-8", "surrogateescape"))
            assert shown.isprintable()
            assert hostile_names.unprinted(shown) == name


@NEEDS_ROOT
def test_a_lease_tells_every_kind_of_holder():
    """Each way of holding a file for writing is told from each way that is not, while it lasts and once it is over."""
    wrong, times = leases.verdicts(4)
    assert wrong == Counter()
    assert len(times) == 2 * 4 * (len(leases.WRITING) + len(leases.READING))


def test_whoever_opens_a_leased_file_does_not_end_maintd():
    """A process of maintd's lives on when its lease is broken, time after time; without its care the first kills it."""
    assert leases.breaks(50) == (50, 0)
    assert leases.breaks(50, how="die") == (1, -signal.SIGIO)


@NEEDS_ROOT
def test_lines_are_whole_though_others_open_the_log_all_the_time():
    """While the log and its archives are opened for writing by others again and again, no line is lost or doubled."""
    assert leases.under_openers(500).is_whole


def test_events_that_nobody_reads_are_dropped_and_counted_exactly():
    """More events than find room, and nobody reads: logs are rotated, and the gaps in `seq` are what was counted."""
    story = outputs.Story("unread", 10_800, floods=2)
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        story.live(Tree(Path(folder).resolve(), outputs.JOBS))
    assert story.faults == []
    assert story.dropped > 0


def test_broken_configs_leave_the_old_one_in_force():
    """Noise, spoilt text, wrong types, huge and nested, by SIGHUP: the daemon lives, keeps the old one, stays small."""
    row = held(config_fuzz, 0.004)
    assert row.holds, row


def test_a_size_beyond_all_files_is_a_problem_of_the_config():
    """A max_size of four hundred digits is refused at its place and does not end the daemon."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), outputs.JOBS)
        with resident(tree, tree.folder / "events") as daemon:
            tree.write_config(outputs.JOBS.replace("1K", "9" * 400 + "T"))
            verdict = daemon.reload()
            assert not verdict["ok"]
            assert "larger than a file can be" in verdict["problems"][0]
            assert daemon.stop() == 0
