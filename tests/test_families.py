"""Which log the archives of an olddir belong to, where logs of several directories share it."""

from pathlib import Path

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


MEET = """
[rotate.many]
paths = ["LOGS/*/l/*.log"]
exclude = ["LOGS/*/l/own.log"]
olddir = "../arch"
max_size = 1
keep = 1
[rotate.one]
paths = ["LOGS/a/*.log", "LOGS/*/l/own.log"]
olddir = "arch"
max_size = 1
keep = 9
[rotate.beside]
paths = ["LOGS/beside/arch/*.log"]
max_size = 1
"""


def test_archives_of_two_jobs_never_meet(tmp_path):
    """Where archives of two logs of one name, of two jobs, would lie in one place, none is rotated or deleted."""
    tree = Tree(tmp_path, MEET)
    kept = [f"arch/x.log.2026010{day}T000000Z.zst" for day in range(1, 6)]
    for name in ("l/x.log", "l/own.log", *kept):
        tree.log(f"a/{name}")
        tree.log(f"b/{name}")
    tree.log("beside/l/x.log")
    tree.log("beside/arch/x.log")
    done = tree.do("rotate.many", "rotate.one", "rotate.beside")
    refused = {event["target"]: event["reason"] for event in done.events("rotate.refused")}
    assert {
        path.removeprefix(f"{tree.logs}/"): reason.rpartition(", which ")[2] for path, reason in refused.items()
    } == {
        "a/l/x.log": "rotate.one rotates",
        "beside/l/x.log": "rotate.beside rotates",
        "beside/arch/x.log": "rotate.many rotates",
    }
    assert {Path(event["target"]).relative_to(tree.logs).parts[0] for event in done.events("log.expired")} == {"b"}
    assert all((tree.logs / "a" / name).exists() for name in kept)
    rotated = {event["target"].removeprefix(f"{tree.logs}/") for event in done.events("log.rotated")}
    assert rotated == {"a/l/own.log", "b/l/own.log", "b/l/x.log"}
