"""Kills and errnos at system calls of a backup, its retention, a restore in place, and its undoing.

At every call of maintd's where the snapshots are in a directory; at an even sample where the set has several
directories and databases and a program that is stopped for it, and where they are in a bucket or in a repository of
restic's, of which a run takes three times as long. restic itself is killed, too.
"""

from collections.abc import Callable, Iterator, Sequence

from .crew import each, row, spread
from .table import Row, Skipped
from .trial import Report
from .vault import SCENES, Scene, VaultBench
from .vault_trials import points, trial
from .vaults_afar import OF_BUCKET, OF_RESTIC, BucketBench, ResticBench, store, why_not_buckets, why_not_restic
from .vaults_wide import WIDE, WideBench

NAME = "vaults"
BUSY = True
WORKERS = 3
AFAR = 12
"""How many runs each scene has whose snapshots are elsewhere."""
MOST_WIDE = 160
"""How many each has of a set with several directories, databases and a program."""


def run(share: float) -> Row:
    if why := why_not_buckets() or why_not_restic():
        raise Skipped(why)
    server = store()
    try:
        reports = [
            *_played(VaultBench, SCENES, share),
            *_played(WideBench, WIDE, share, MOST_WIDE),
            *_played(lambda: BucketBench(server), OF_BUCKET, share, AFAR),
            *_played(ResticBench, OF_RESTIC, share, AFAR),
        ]
    finally:
        server.kill()
    what = "backup, retention, restore and undo (a directory, a bucket, restic): killed, or failing, at changing calls"
    return row(what, "runs", reports)


def _played(
    benches: Callable[[], VaultBench], scenes: Sequence[Scene], share: float, most: int | None = None
) -> Iterator[Report]:
    found = []
    with benches() as bench:
        for scene in scenes:
            of_scene = list(points(bench, scene))
            found += spread(of_scene, share * (most or len(of_scene)) / len(of_scene))
    yield from each(found, lambda bench, point: [trial(bench, point)], WORKERS, benches)
