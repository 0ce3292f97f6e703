"""What becomes of archived files by their job's own rules: the engine of `expire`, on the objects of an archive."""

import contextlib
import json
import os
import re
import shutil  # noqa: TID251 - clears the other file system
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintd import inventory

from .test_archive import archived, job, lines, succeeded
from .tree import Tree

SHM = Path(f"/dev/shm/maintd-second-{os.getpid()}")
ALL = 'max_share = "100%"\n'


@contextlib.contextmanager
def scratch(path: Path) -> Iterator[None]:
    """A directory on another file system."""
    try:
        yield
    finally:
        shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Five archived files, one of each of five days, and what was read off their dates."""
    made = Tree(tmp_path)
    made.write_config(job())
    for day in range(1, 6):
        made.log(f"p-2026-02-0{day}.csv", b"%d\n" % day * 100)
    succeeded(made.do())
    return made


def test_without_rules_everything_stays(tree):
    """An archive whose job says nothing of it is never thinned out."""
    assert len(archived(tree)) == 5
    succeeded(tree.do())
    assert len(archived(tree)) == 5


def test_what_no_rule_keeps_goes_with_its_line(tree):
    """plan shows the verdicts, do removes the oldest, each said; the manifest says when and why, and is whole."""
    tree.write_config(job("keep_last = 2\n" + ALL))
    steps = {os.path.basename(step["target"]): step for step in tree.plan() if "2026" in step["target"]}
    assert [name for name, step in steps.items() if step["step"] == "action"] == [
        f"p-2026-02-0{day}.csv.zst" for day in (1, 2, 3)
    ]
    assert steps["p-2026-02-05.csv.zst"]["reason"] == "kept: the newest is always kept"
    did = succeeded(tree.do())
    gone = did.events("file.expired")
    assert [event["reason"] for event in gone] == [f"generation {rank}, keep is 2" for rank in (5, 4, 3)]
    assert archived(tree) == ["p-2026-02-04.csv.zst", "p-2026-02-05.csv.zst"]
    assert [line["why"] for line in lines(tree) if line.get("void")] == [event["reason"] for event in gone]
    assert tree.run("archive", "verify").returncode == 0
    assert len(tree.run("archive", "list", "--json").stdout.splitlines()) == 2
    assert tree.do().names() == ["paths.missed"]


def test_at_most_half_goes_in_one_run(tree):
    """max_share holds here too, and what is left is said."""
    tree.write_config(job('max_age = "1d"\n'))
    did = succeeded(tree.do())
    assert len(did.events("file.expired")) == 2
    assert did.event("expire.limited")["left"] == 2
    assert len(archived(tree)) == 3


def test_what_is_open_stays(tree):
    """An archived file that a process reads is not removed."""
    tree.write_config(job("keep_last = 1\n" + ALL))
    with (tree.folder / "archive/p-2026-02-02.csv.zst").open("rb"):
        succeeded(tree.do())
    assert archived(tree) == ["p-2026-02-02.csv.zst", "p-2026-02-05.csv.zst"]


def test_what_others_put_there_is_not_touched(tree):
    """Files of another job, and what is in no manifest, are none of this job's."""
    (tree.folder / "archive/by-hand.csv").write_bytes(b"somebody's")
    tree.write_config(job("keep_last = 1\n" + ALL, name="other"))
    succeeded(tree.do())
    assert len(archived(tree)) == 6


def test_after_a_kill_the_lines_follow_the_objects(tree):
    """An object that went, and whose line is still there, is taken off the manifest by the next run."""
    (tree.folder / "archive/p-2026-02-01.csv.zst").unlink()
    tree.write_config(job("keep_last = 4\n" + ALL))
    succeeded(tree.do())
    assert len(archived(tree)) == 4
    assert len(inventory.read(f"{tree.folder}/archive").entries) == 4
    assert tree.run("archive", "verify").returncode == 0


def test_a_bundle_goes_as_a_whole(tmp_path):
    """The rules count bundles: it is as old as its youngest file."""
    tree = Tree(tmp_path)
    options = 'bundle = "month"\nkeep_monthly = 2\n' + ALL
    tree.write_config(job(options))
    for month in range(1, 5):
        for day in (1, 20):
            tree.log(f"p-2026-0{month}-{day:02d}.csv", b"%d\n" % day * 100)
    succeeded(tree.do())
    succeeded(tree.do())
    assert archived(tree) == ["2026-03.tar.zst", "2026-04.tar.zst"]
    listed = [json.loads(line)["member"] for line in tree.run("archive", "list", "--json").stdout.splitlines()]
    assert listed == [f"p-2026-0{month}-{day:02d}.csv" for month in (3, 4) for day in (1, 20)]


def test_each_series_can_count_for_itself(tmp_path):
    """With per = "log" the files of each series keep so many, in whatever directory they lie."""
    tree = Tree(tmp_path)
    tree.write_config(job('per = "log"\nkeep_last = 1\n' + ALL))
    for name in ("a", "b"):
        for day in (1, 2, 3):
            tree.log(f"{name}-2026-02-0{day}.csv", b"x")
    succeeded(tree.do())
    succeeded(tree.do())
    assert archived(tree) == ["a-2026-02-03.csv.zst", "b-2026-02-03.csv.zst"]


def test_keep_within_alone_is_an_error(tree):
    """A rule that only protects deletes nothing, and is refused by itself."""
    tree.write_config(job('keep_within = "30d"\n'))
    checked = tree.run("check")
    assert checked.returncode == 1
    assert "keep_within only adds to other rules" in checked.stdout + checked.stderr


def test_rotate_keeps_periods_too(tmp_path):
    """keep_daily and keep_monthly of a rotate job keep the newest generation of so many days and months."""
    tree = Tree(tmp_path)
    tree.write_config('[rotate.app]\npaths = ["LOGS/*.log"]\nmax_size = "1G"\nkeep_daily = 2\nkeep_monthly = 2\n')
    tree.log("app.log", b"")
    for stamp in ("20260105T000000Z", "20260106T000000Z", "20260210T010000Z", "20260210T020000Z", "20260211T000000Z"):
        tree.log(f"app.log.{stamp}.zst", b"packed")
    did = succeeded(tree.do())
    assert tree.names() == [
        "app.log",
        "app.log.20260106T000000Z.zst",
        "app.log.20260210T020000Z.zst",
        "app.log.20260211T000000Z.zst",
    ]
    assert "beyond keep_daily 2, keep_monthly 2" in did.events("log.expired")[0]["reason"]


def test_what_is_still_where_it_was_is_not_thinned_out(tmp_path):
    """With keep_originals an object whose file is still here stays: it would be stored again, night after night."""
    tree = Tree(tmp_path)
    tree.write_config(job("keep_originals = true\nkeep_last = 1\n" + ALL))
    paths = [tree.log(f"p-2026-02-0{day}.csv", b"%d\n" % day) for day in (1, 2, 3)]
    succeeded(tree.do())
    paths[0].unlink()
    succeeded(tree.do())
    assert len(archived(tree)) == 3  # the newest of those that are only there
    paths[1].unlink()
    succeeded(tree.do())
    assert archived(tree) == ["p-2026-02-02.csv.zst", "p-2026-02-03.csv.zst"]


def test_the_manifest_of_an_archive_is_no_file_of_a_job(tree):
    """Neither an expire job nor another archive job takes an archive's manifest, whatever their patterns name."""
    more = '[expire.all]\npaths = ["HERE/archive/*"]\nmax_age = "1s"\nmax_share = "100%"\ncron = "@daily"\n'
    tree.write_config(more + job(pattern="HERE/archive/*", to="HERE/second", name="second"))
    tree.make_older(tree.folder / "archive" / inventory.NAME, 40 * 86_400)
    succeeded(tree.do("archive.second"))
    succeeded(tree.do("expire.all"))
    assert [path.name for path in (tree.folder / "archive").iterdir()] == [inventory.NAME]


OUTER = '[archive.outer]\npaths = ["HERE/none/*"]\nto = "HERE"\nolder_than = "1d"\ncron = "@daily"\n'


@pytest.mark.parametrize("outer", ["", OUTER])
def test_a_copy_elsewhere_lets_a_guard_free_the_archive_here(tree, outer):
    """What a second job has stored elsewhere goes from the first archive when a budget is exceeded, with its line; also
    if that lies in the archive of another job."""
    head = f'[archive.second]\npaths = ["HERE/archive/*.csv.zst"]\nto = "{SHM}"\nolder_than = "1d"\ncron = "@daily"\n'
    guard = '[guard.archive]\ndirectory = "HERE/archive"\nmax_used = "18K"\n'
    tree.write_config(outer + job() + head.replace("HERE", str(tree.folder)) + "keep_originals = true\n" + guard)
    with scratch(SHM):
        succeeded(tree.do("archive.second"))
        assert len(archived(tree)) == 5
        did = tree.do("guard.archive")
        gone = did.events("file.expired")
        assert gone
        assert all("stored as" in event["reason"] for event in gone)
        assert len(archived(tree)) == 5 - len(gone)
        told = tree.run("archive", "verify").stdout
        rest = 5 - len(gone)
        whole = rf"(?m)^{tree.folder}/archive: read {rest} of {rest} files?, .*: all as they were$"
        assert re.search(whole, told), told


def test_what_is_lost_is_no_generation(tree):
    """An object that is gone or cut off keeps no other from being kept; its own line goes once it would have gone."""
    tree.write_config(job('keep_last = 2\nmax_share = "100%"\n'))
    newest, next_, *older = sorted(archived(tree), reverse=True)
    (tree.folder / "archive" / newest).unlink()
    (tree.folder / "archive" / next_).write_bytes(b"cut")
    did = succeeded(tree.do())
    assert len(did.events("file.expired")) == 1
    assert set(archived(tree)) == {next_, *older[:2]}
    listed = {one["name"] for one in lines(tree) if "void" not in one} - {
        one["name"] for one in lines(tree) if "void" in one
    }
    assert {newest, next_} <= listed, "what was lost is still said by verify"
    assert tree.run("archive", "verify").returncode == 3
