"""What runs that were cut off, or are still at work, left beside a log: no line is lost or doubled over it."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .tree import Tree, content

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
COMPRESS = '[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1d"\n'
HOLD = """
import os, sys
os.open(sys.argv[1], os.O_WRONLY)
os.write(1, b"ready\\n")
sys.stdin.read()
"""


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """While in the block another process has the file open for writing."""
    process = subprocess.Popen([sys.executable, "-IS", "-c", HOLD, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield
    finally:
        process.kill()
        process.communicate()


def test_a_file_that_somebody_has_open_is_named_and_left_alone(tmp_path):
    """A compression that is put off says which file is open (exit 5); nothing of it has changed."""
    tree = Tree(tmp_path, COMPRESS)
    original = tree.log("c.csv", b"the original\n", age=2 * 86_400)
    before = original.stat()
    with written(original):
        done = tree.do()
    assert done.code == 5, done
    (waiting,) = done.events("action.waiting")
    assert (waiting["target"], waiting["verb"]) == (str(original), "compress")
    assert "open in another process" in waiting["reason"]
    after = original.stat()
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert tree.names() == ["c.csv"]
    with written(original):
        shown = tree.run("do", "--all").stdout.splitlines()
    assert shown[-1].endswith(": skipped, 0 of 1 done, 1 put off (c.csv)")


@pytest.mark.parametrize(("length", "stamps"), [(226, ("00Z-1", "00Z-2")), (230, ("01Z", "02Z"))])
def test_archives_whose_temporaries_are_cut_short_are_compressed_at_once(tmp_path, length, stamps):
    """Two archives of a log with a very long name are compressed at the same time, and each has its own content."""
    tree = Tree(tmp_path, ROTATE + "level = 15\n")  # slow enough for them to meet
    archives = [f"{'y' * (length - 4)}.log.20260101T0000{stamp}" for stamp in stamps]
    for name in archives:
        start = name[-2:].encode()
        tree.log(name, b"".join(b"%s line %d\n" % (start, number) for number in range(200_000)))
    before = tree.contents()
    done = tree.do()
    assert done.code == 0, done
    assert len(done.events("log.compressed")) == 2
    assert tree.names() == [f"{name}.zst" for name in archives]
    assert tree.contents() == before
    for name in archives:
        assert content(tree.logs / f"{name}.zst").startswith(name[-2:].encode() + b" line 0\n")


@pytest.mark.parametrize(
    ("job", "name"), [(ROTATE, "a.log.20260101T000000Z"), (COMPRESS, "c.csv")], ids=["rotate", "compress"]
)
def test_a_temporary_that_somebody_writes_is_neither_removed_nor_published(tmp_path, job, name):
    """While another process writes the temporary of a copy, that copy is put off (exit 5); it is made afterwards."""
    tree = Tree(tmp_path, job)
    original = tree.log(name, b"the original\n", age=2 * 86_400)
    temporary = tree.log(f"{name}.zst.maintd-tmp", b"half of another's work")
    inode = temporary.stat().st_ino
    with written(temporary):
        done = tree.do()
    assert done.code == 5, done
    assert tree.names() == [name, f"{name}.zst.maintd-tmp"]
    assert (original.read_bytes(), temporary.read_bytes()) == (b"the original\n", b"half of another's work")
    assert temporary.stat().st_ino == inode
    assert tree.do().code == 0
    assert tree.names() == [f"{name}.zst"]
    assert content(tree.logs / f"{name}.zst") == b"the original\n"


@pytest.mark.parametrize("codec", ["gzip", "none"])
def test_a_finished_copy_is_taken_over_also_when_the_codec_was_changed_since(tmp_path, codec):
    """A run that died before it removed the original is completed with the copy it made, whatever the codec is now."""
    tree = Tree(tmp_path, ROTATE)
    log = tree.log("a.log", b"x" * 100_000)
    assert tree.do().code == 0
    (copy,) = tree.logs.glob("a.log.*.zst")
    original = copy.with_suffix("")
    original.write_bytes(content(copy))
    inode = copy.stat().st_ino
    tree.write_config(ROTATE + f'compress = "{codec}"\n')
    done = tree.do()
    assert (done.code, done.event("log.compressed")["codec"]) == (0, "zstd"), done
    assert tree.names() == [log.name, copy.name]
    assert (copy.stat().st_ino, content(copy)) == (inode, b"x" * 100_000)


@pytest.mark.parametrize("codec", ["gzip", "none"])
def test_a_copy_with_other_content_never_replaces_its_original(tmp_path, codec):
    """An original whose compressed copy holds something else stays, with the copy, also after a change of codec."""
    tree = Tree(tmp_path, ROTATE)
    tree.log("a.log", b"x" * 1000)
    assert tree.do().code == 0
    (copy,) = tree.logs.glob("a.log.*.zst")
    copy.with_suffix("").write_bytes(b"y" * 1000)
    tree.write_config(ROTATE + f'compress = "{codec}"\n')
    before = tree.contents()
    done = tree.do()
    assert (done.code, done.event("compress.failed")["error"]) == (1, "EEXIST"), done
    assert tree.contents() == before
