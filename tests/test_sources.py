"""What a backup takes: directories by patterns, what is excluded, and files that come and go while it is at work."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_backup import JOB, at, manifest, snapshots, taken, unpacked
from .tree import Tree


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


def job(files: str, exclude: str = "[]", meanwhile: str = "true") -> str:
    """A backup of these files, during which, after the plan, a line of a shell is run."""
    return (
        f'[backup.app]\ncron = "@daily"\ndestination = "HERE/kept"\nfiles = {files}\nexclude = {exclude}\n'
        f"[backup.app.commands]\nmeanwhile = ['/bin/sh', '-euc', '{meanwhile}']\n"
    )


def names(tree: Tree) -> list[str]:
    """The files of the newest snapshot, below logs."""
    entries = manifest(snapshots(tree)[-1])["entries"]
    return [str(Path(one["path"]).relative_to(tree.logs)) for one in entries if one["kind"] == "file"]


@pytest.mark.parametrize("files", ['["LOGS/conf"]', '["LOGS/conf/*"]', '["LOGS/conf", "LOGS/conf/state"]'])
def test_a_file_that_was_replaced_is_taken_as_it_is_now(tree, files):
    """A state file that is written anew and renamed between the plan and its storing is no failure."""
    tree.log("conf/state", b"old\n")
    tree.log("conf/fixed")
    tree.log("new", b"new, and longer\n")
    tree.write_config(job(files, meanwhile="mv LOGS/new LOGS/conf/state"))
    taken(tree)
    (snapshot,) = snapshots(tree)
    assert names(tree) == ["conf/fixed", "conf/state"]
    assert at(unpacked(snapshot, tree.folder / "out"), tree.logs / "conf/state").read_bytes() == b"new, and longer\n"


def test_a_file_that_went_is_left_out(tree):
    """Of a directory: the manifest names it, and the snapshot lacks nothing."""
    for name in ("run/session", "run/stays"):
        tree.log(name)
    tree.write_config(job('["LOGS/run"]', meanwhile="rm LOGS/run/session"))
    taken(tree)
    known = manifest(snapshots(tree)[-1])
    assert (names(tree), known["missing"]) == (["run/stays"], [])
    assert known["left_out"] == [f"{tree.logs}/run/session: went while the snapshot was made"]


@pytest.mark.parametrize(
    ("files", "meanwhile"),
    [
        ('["LOGS/other", "LOGS/run/session"]', "rm LOGS/run/session"),
        ('["LOGS/run", "LOGS/other/*"]', "rm -r LOGS/run"),
    ],
)
def test_what_is_named_and_went_is_lacking(tree, files, meanwhile):
    """A file that the job names itself, or all of a directory, as when it is not mounted any more."""
    for name in ("run/session", "other/stays"):
        tree.log(name)
    tree.write_config(job(files, meanwhile=meanwhile))
    done = tree.do("backup.app")
    assert done.code != 0
    assert done.events("backup.failed")
    assert [one.partition(":")[0] for one in manifest(snapshots(tree)[-1])["missing"]] == [f"{tree.logs}/run/session"]


def test_directories_by_a_pattern(tree):
    """Each that a pattern names stands for all that is below it; once it has nothing any more the snapshot lacks it."""
    for name in ("a/config/x", "b/config/.deep/y", "b/other", "top"):
        tree.log(name)
    tree.write_config(job('["LOGS/*/config"]'))
    taken(tree)
    assert names(tree) == ["a/config/x", "b/config/.deep/y"]
    tree.write_config(job('["LOGS/*"]'))
    taken(tree)
    assert names(tree) == ["a/config/x", "b/config/.deep/y", "b/other", "top"]
    for name in ("a/config/x", "b/config/.deep/y"):
        (tree.logs / name).unlink()
    tree.write_config(job('["LOGS/*/config", "LOGS/top"]'))
    assert "has none of the 2 files" in str(tree.do("backup.app").events("backup.failed"))


@pytest.mark.parametrize("exclude", ['["LOGS/d/cache"]', '["LOGS/*/cache"]'])
@pytest.mark.parametrize("files", ['["LOGS/d"]', '["LOGS/*"]', '["LOGS/d/cache", "LOGS/d/kept"]', '["LOGS/**"]'])
def test_an_excluded_directory_stands_for_all_below_it(tree, files, exclude):
    """Nothing below it is taken, nor is it lacking."""
    for name in ("d/cache/one", "d/cache/deep/two", "d/kept"):
        tree.log(name)
    tree.write_config(job(files, exclude))
    taken(tree)
    assert names(tree) == ["d/kept"]


@pytest.mark.parametrize(
    ("files", "exclude"),
    [('["LOGS/d"]', '["LOGS/d/*"]'), ('["LOGS/d"]', '["LOGS/d/deep/*"]'), ('["LOGS/*"]', '["LOGS/**"]')],
)
def test_an_exclude_that_leaves_nothing_is_a_failure(tree, files, exclude):
    """Of all sources, or of a directory that is named beside others: who has excluded the files at its top only, as a
    shell has it, is not left without backups in silence. What is excluded by its own name, and a directory that is
    empty, are no failure."""
    tree.log("d/deep/file")
    alone = f"{JOB.partition('databases')[0]}files = {files}\nexclude = {exclude}\n"
    tree.write_config(alone)
    failed = tree.do("backup.app").event("backup.failed")
    assert (failed["error_msg"].partition(":")[0], failed["target"]) == (
        "exclude leaves nothing of it",
        told(tree, files),
    )
    assert not (tree.folder / "kept").exists()
    (tree.folder / "beside").write_bytes(b"1")
    (tree.logs / "empty").mkdir()
    both = alone.replace("files = [", 'files = ["HERE/beside", "LOGS/empty", ')
    tree.write_config(both)
    assert len(tree.do("backup.app").events("backup.failed")) == ("*" not in files)
    tree.write_config(both.replace(exclude, '["LOGS/d"]'))
    taken(tree)


def told(tree: Tree, files: str) -> str:
    return files[2:-2].replace("LOGS", str(tree.logs))


@pytest.mark.parametrize("files", ['["HERE"]', '["HERE/maintd.toml", "HERE/conf.d/more.toml", "HERE/*"]'])
def test_the_config_of_maintd_is_taken(tree, files):
    """A new machine needs it: maintd's config and conf.d are files like any; its state is not, nor its snapshots."""
    (tree.folder / "conf.d").mkdir()
    (tree.folder / "conf.d/more.toml").write_text('[rotate.more]\npaths = ["/nowhere/*.log"]\nevery = "1d"\n')
    tree.log("a")
    tree.write_config(job(files))
    taken(tree)
    taken(tree)
    entries = manifest(snapshots(tree)[-1])["entries"]
    paths = [str(Path(one["path"]).relative_to(tree.folder)) for one in entries if one["kind"] == "file"]
    assert paths == ["conf.d/more.toml", "logs/a", "maintd.toml"]
