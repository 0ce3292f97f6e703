"""Kills and errnos at every system call of a backup, its retention, a restore in place, and its undoing."""

from .crew import each, row, spread
from .table import Row
from .vault import SCENES, VaultBench, points, trial

NAME = "vaults"
WORKERS = 3


def run(share: float) -> Row:
    with VaultBench() as bench:
        found = [point for scene in SCENES for point in points(bench, scene)]
    reports = each(spread(found, share), lambda bench, point: [trial(bench, point)], WORKERS, VaultBench)
    return row("backup, retention, restore and undo: killed, or failing, at every changing call", "runs", reports)
