"""A sample of the campaigns over databases: vaults, beside writers, beside upkeep, locks."""

import pytest

from tests.tree import Tree

from . import beside_upkeep, beside_writers, locks
from .crew import spread
from .vault import SCENES, Scene, VaultBench
from .vault_trials import points, trial
from .vaults_afar import OF_BUCKET, OF_RESTIC, BucketBench, ResticBench, store, why_not_buckets, why_not_restic


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.name)
def test_whatever_is_cut_off_is_whole_before_or_after(scene):
    """Killed or failing at a system call: the old state exactly, or the new; a sound snapshot; the next run works."""
    with VaultBench() as bench:
        _hold(bench, scene, 0.02)


class _Many(VaultBench):
    """With many files in one directory."""

    def fill(self, tree: Tree) -> None:
        for number in range(40):
            tree.log(f"{number}.csv", b"first\n")


def test_services_do_not_wait_for_the_disk_with_each_file():
    """From the moment on when programs stand still a restore in place, and its undo, sync each directory a few times,
    however many files are in it."""
    with _Many() as bench:
        for scene in SCENES[2:]:
            calls = bench.run(bench.set(scene).tree, *scene.argv).calls
            moved = [call.number for call in calls if call.name.startswith("rename") and ".csv" in str(call)]
            assert len(moved) >= 80
            assert len([call for call in calls if call.name == "fsync" and call.number > moved[0]]) < 20


@pytest.mark.skipif(bool(why_not_buckets()), reason=why_not_buckets())
def test_whatever_is_cut_off_a_bucket_has_a_sound_snapshot():
    """So with a bucket: and nothing is left in it, after the next run, that belongs to no snapshot."""
    server = store()
    try:
        with BucketBench(server) as bench:
            _hold(bench, OF_BUCKET[1], 0.01)
    finally:
        server.kill()


@pytest.mark.skipif(bool(why_not_restic()), reason=why_not_restic())
def test_whatever_is_cut_off_a_repository_has_a_sound_snapshot():
    """So with a repository of restic's, every byte of which is read then."""
    with ResticBench() as bench:
        _hold(bench, OF_RESTIC[1], 0.008)


def _hold(bench: VaultBench, scene: Scene, share: float) -> None:
    reports = [trial(bench, point) for point in spread(list(points(bench, scene)), share)]
    assert any(report.reached for report in reports)
    assert not [str(report) for report in reports if report.wrongs]


def test_beside_a_writer_at_full_speed_every_copy_is_sound():
    """Its sum is conserved, and it has every transaction that was committed before the backup began."""
    story = beside_writers.tell("WAL", 2)
    assert not story.faults
    assert story.backups == 2
    assert story.transactions > 100


def test_beside_upkeep_no_transaction_fails():
    """A writer with a time-out of 5 s meets no SQLITE_BUSY while every step is done, and loses nothing."""
    _, story = beside_upkeep.tell("WAL", 2)
    assert not story.faults


def test_locks_survive():
    """The lock that a service holds is held at each of many looks; a naive service beside it loses its own."""
    watch = locks.tell("DELETE", 100)
    assert watch.probes >= 100
    assert watch.stolen == 0
    assert locks.naively_lost()
