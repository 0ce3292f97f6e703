"""The snapshots of a backup job that was renamed, or is gone: they are named, restored, and left alone."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_backup import JOB, taken
from .test_restore import refused, restored
from .tree import Tree, files

EXPIRE = '[expire.all]\ncron = "@daily"\npaths = ["HERE/**", "HERE/kept/app.*/*"]\nmax_age = "1d"\n'


@pytest.fixture
def tree() -> Iterator[Tree]:
    """A set called `app` with one snapshot, years old by its files, whose job is called `main` by now."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        tree = Tree(Path(folder).resolve(), JOB)
        tree.log("p.csv", b"1\n")
        taken(tree)
        for path in files(tree.folder / "kept"):
            os.utime(path, (1e9, 1e9))
        tree.write_config(JOB.replace("backup.app", "backup.main") + EXPIRE)
        yield tree


def test_backups_names_them(tree):
    """How many there are and where, and with --in they are listed and restored, as the message of a restore says."""
    kept = str(tree.folder / "kept")
    assert f"1 snapshot of app in {kept}" in tree.run("backups").stdout
    assert "--in PLACE" in refused(tree, "app", "--to", str(tree.folder / "out"))
    restored(tree, "app", "--in", kept, "--to", str(tree.folder / "out"))
    assert [path.read_bytes() for path in files(tree.folder / "out")] == [b"1\n"]


def test_no_pattern_takes_them_apart(tree):
    """They are maintd's own as before, also for a job whose patterns name all that is there."""
    assert [step for step in tree.plan("expire.all") if step["step"] == "action"] == []
    before = set(files(tree.folder / "kept"))
    assert tree.do("expire.all").code == 0
    assert set(files(tree.folder / "kept")) == before
