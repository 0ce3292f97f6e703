"""What a backup takes for unchanged: times that were old when the file was read, and content before."""

import hashlib
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from .test_backup import JOB, manifest, quiet, rewrite, snapshots, taken
from .tree import Tree


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve(), JOB)


@pytest.fixture
def mapped(tree: Tree) -> Iterator[mmap.mmap]:
    """A file that a service has mapped, and just written to, so that its page is dirty; there is a snapshot of it."""
    path = tree.log("m.csv", bytes(4096))
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        memory[:5] = b"first"
        taken(tree)
        yield memory


def stored(tree: Tree) -> str:
    (entry,) = manifest(snapshots(tree)[-1])["entries"]
    return str(entry["sha256"])


def test_what_is_written_through_a_mapping_is_stored(tree, mapped):
    """The page is dirty already, so that no time of the file changes; the next snapshot has the new content."""
    mapped[:6] = b"second"
    taken(tree)
    assert stored(tree) == hashlib.sha256(mapped[:]).hexdigest()


def test_times_that_were_old_are_believed(tree, mapped):
    """A file that had its times for long when the snapshot before was taken is not read again."""
    (first,) = snapshots(tree)
    rewrite(first, quiet(manifest(first)))
    before = stored(tree)
    mapped[:6] = b"second"
    assert taken(tree).event("snapshot.stored")["new"] == 0
    assert stored(tree) == before
