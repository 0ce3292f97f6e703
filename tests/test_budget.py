"""What a directory may take: how seldom it is walked on the way down, and that nothing goes in vain for that."""

import os
import subprocess
from pathlib import Path

from maintd.actions.ballast import LookInto
from maintd.actions.delete import GiveUp
from maintd.actions.hands import Hands
from maintd.budget import Budget, Reckoning
from maintd.steps import Seen
from tests.test_guard import MIB
from tests.tree import Tree

FILE = 5000


class Counted(Budget):
    """Counts how often it is walked."""

    walks = 0

    def taken(self) -> int:
        type(self).walks += 1
        return super().taken()


def filled(folder: Path, count: int) -> list[Path]:
    paths = [folder / f"{number:04d}" for number in range(count)]
    for path in paths:
        path.write_bytes(b"x" * FILE)
    return paths


def test_a_directory_is_walked_a_few_times_for_many_steps(tmp_path):
    """The steps end with the same file as if each was preceded by a walk, after about as many as halves it has."""
    paths = filled(tmp_path, 500)
    budget = Counted(str(tmp_path), MIB)
    goal = Reckoning(budget, budget.taken(), quick=0, rest=float("inf"))  # as if its walk took long
    Counted.walks = 0
    gone = 0
    while not goal.is_met():
        paths[gone].unlink()
        goal.note(FILE)
        gone += 1
    assert budget.taken() <= budget.most < budget.taken() + 2 * 4096
    assert Counted.walks < 25


def test_no_more_goes_where_files_take_more_than_they_hold(tmp_path):
    """Files for which blocks are set aside (fallocate -n): as many go as the budget asks for, and no more."""
    paths = filled(tmp_path, 60)
    for path in paths:
        subprocess.run(["fallocate", "-n", "-l", "64K", path], check=True)
    budget = Budget(str(tmp_path), 3 * MIB)
    goal = Reckoning(budget, budget.taken(), quick=0, rest=float("inf"))
    gone = 0
    while not goal.is_met():
        paths[gone].unlink()
        goal.note(FILE)
        gone += 1
    assert 3 * MIB - (128 << 10) < budget.taken() <= 3 * MIB


def test_what_others_delete_meanwhile_is_found_out(tmp_path):
    """Nothing more goes than half of what was too much if somebody else makes room in the middle."""
    paths = filled(tmp_path, 500)
    budget = Budget(str(tmp_path), 2 * MIB)
    goal = Reckoning(budget, budget.taken(), quick=0, rest=float("inf"))
    for path in paths[250:]:
        path.unlink()
    gone = 0
    while not goal.is_met():
        paths[gone].unlink()
        goal.note(FILE)
        gone += 1
    assert 0 < gone <= (500 * 2 * 4096 - 2 * MIB) / (2 * 4096) / 2 + 2


def test_small_files_go_down_to_the_budget_and_no_further(tmp_path):
    """A guard of a directory of many files, each in a few blocks, deletes the oldest down to a tenth below."""
    tree = Tree(tmp_path)
    folder = tree.folder / "data"
    folder.mkdir()
    for number, path in enumerate(filled(folder, 300)):
        tree.make_older(path, 1000 - number)
    tree.write_config(
        '[expire.old]\npaths = ["HERE/data/*"]\nkeep_last = 10\nmax_share = "100%"\ncron = "@yearly"\n'
        '[guard.data]\ndirectory = "HERE/data"\nmax_used = "1M"\n'
    )
    did = tree.do("guard.data")
    gone = [Path(event["target"]).name for event in did.events("file.expired")]
    budget = Budget(str(folder), MIB)
    assert budget.taken() <= MIB < budget.taken() + 2 * 4096
    assert gone == [f"{number:04d}" for number in range(len(gone))]
    assert not did.events("directory.spent")


def test_what_was_spared_is_no_step_that_failed(tmp_path):
    """If the budget was met for a moment, and is passed again, the next look goes on: nothing is said to be left."""
    (path,) = map(str, filled(tmp_path, 1))
    step = GiveUp(target=path, reason="the oldest", seen=Seen.of(path, os.stat(path)))
    look = LookInto(
        target=str(tmp_path), reason="is it enough?", wanted=Budget(str(tmp_path), 1), kept="", steps=(step,)
    )
    assert not list(look.apply(Hands(spared=[step])))
    (spent,) = look.apply(Hands())
    assert spent.kept == f"steps that failed or wait, as to delete {path}; "
