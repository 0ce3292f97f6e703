"""Which log the archives of an olddir belong to, where logs of several directories share it."""

import pytest

from .tree import Tree

ROTATE = '[rotate.all]\npaths = ["LOGS/*/*.log"]\ncron = "@daily"\nkeep = 2\nolddir = "HERE/old"\n'


@pytest.mark.parametrize("left", ["", "a/two.log.20250101T000000Z.zst"])
def test_an_archive_belongs_to_the_log_that_is_there(tmp_path, left):
    """Logs of several directories are rotated into one olddir again and again, and each keeps its own generations.

    That holds also beside what a log of the same name, which is gone, has left in another directory.
    """
    tree = Tree(tmp_path, ROTATE)
    if left:
        tree.log(left)
    for turn in range(4):
        logs = {tree.log(name, b"round %d\n" % turn) for name in ("a/one.log", "b/two.log")}
        done = tree.do()
        assert done.code == 0, done
        assert {event["target"] for event in done.events("log.rotated")} == set(map(str, logs))
    names = sorted(path.name.partition(".log.")[0] for path in (tmp_path / "old").iterdir())
    assert names == ["one", "one", "two", "two"]
    assert not left or (tree.logs / left).exists()


def test_archives_of_logs_that_are_gone_stay_with_their_job(tmp_path):
    """Where none of the logs that an archive may be of is there, it still goes when the retention gives it up."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a/one.log")
    (tree.logs / "b").mkdir()
    for day in (1, 2, 3):
        tree.log(f"../old/gone.log.2026010{day}T000000Z.zst")
    done = tree.do()
    assert done.code == 0, done
    assert done.event("log.expired")["target"].endswith("/old/gone.log.20260101T000000Z.zst")
