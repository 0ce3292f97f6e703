"""The walker: it adds up what du(1) adds up, whatever the names, crosses nothing, and says what it cannot read."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maintd.walk import OTHERS, Walk, Walked
from tests.faults.disk import Disk
from tests.faults.table import Skipped


def walked(root: Path, top: int = 5, shares: int = 1, at: Callable[[int], None] = lambda _: None) -> Walked:
    """What so many walks that share the work find together."""
    whole = Walked()
    for number in range(shares):
        descriptor = os.open(root, os.O_RDONLY)
        whole.add(Walk(str(root), top, at, number=number, count=shares).run(descriptor), top)
        os.close(descriptor)
    return whole


def du(root: Path, *options: str) -> int:
    return int(subprocess.check_output(["du", "-s", "-x", "--block-size=1", *options, root]).split()[0])


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Files with several names, holes, links, a FIFO, and every byte in a name but / and NUL."""
    for number in range(40):
        path = tmp_path / f"d{number % 5}/deeper/file{number}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * 1000 * number)
    (tmp_path / "api.log").write_bytes(b"y" * 50_000)
    for stamp in ("20260101T000000Z.zst", "20260102T000000Z"):
        (tmp_path / f"api.log.{stamp}").write_bytes(b"z" * 9_000)
    for number in range(3):
        os.link(tmp_path / "d4/deeper/file39.csv", tmp_path / f"d{number}/linked")
    with (tmp_path / "holes").open("wb") as file:
        file.truncate(1 << 30)
    (tmp_path / "link").symlink_to("/usr")
    os.mkfifo(tmp_path / "fifo")
    for byte in set(range(1, 256)) - {ord("/")}:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/d0/name" + bytes([byte]))).write_bytes(b"q" * 5000)
    return tmp_path


@pytest.mark.parametrize("shares", [1, 2, 3])
def test_a_walk_adds_up_what_du_adds_up(tree: Path, shares: int):
    """Bytes on the disk are those of du, to the byte, also if several walks share the work: each file counts once."""
    found = walked(tree, shares=shares)
    assert found.total.disk == du(tree)
    assert found.total.files == sum(1 for path in tree.rglob("*") if not path.is_dir() or path.is_symlink()) - 3
    assert found.directories == 11
    assert found.total.apparent >= 1 << 30
    assert sum(one.disk for one in found.groups.values()) + tree.stat().st_blocks * 512 == found.total.disk
    assert found.unread == 0


def test_what_a_service_takes_and_what_is_largest(tree: Path):
    """A file counts for its name up to the dot, what is in a directory for that; archives are known by their names."""
    found = walked(tree, top=2, shares=2)
    assert found.groups["api"].files == 3
    assert found.groups["d3"].files == 8
    assert (found.archives.files, found.archives.apparent) == (2, 18_000)
    assert max(found.largest)[1] == str(tree / "api.log")
    assert len(found.largest) == 2


def test_a_directory_that_vanishes_under_the_walk_is_no_trouble(tree: Path):
    """What is removed, or exchanged for a link, between the listing and the look is passed over."""
    entered: list[str] = []

    class Vanishing(Walk):
        def _entered(self, level, entry):
            entered.append(entry.name)
            if entry.name == "deeper" and len(entered) < 4:
                os.rename(f"{level.path}/deeper", f"{level.path}/gone")
                os.symlink("/usr", f"{level.path}/deeper")
            return super()._entered(level, entry)

    descriptor = os.open(tree, os.O_RDONLY)
    found = Vanishing(str(tree), 5, lambda _: None).run(descriptor)
    os.close(descriptor)
    assert found.total.disk <= du(tree)
    assert found.unread <= 1


def test_what_may_not_be_read_is_counted_and_named(tree: Path):
    """Permission denied below leaves the rest as it is, and says where."""
    if os.geteuid() == 0:
        descriptor = os.open(tree, os.O_RDONLY)
        code = f"""
import os
import _strptime
from maintd.walk import Walk
os.setgid(65534), os.setuid(65534)
found = Walk({str(tree)!r}, 5, lambda _: None).run({descriptor})
print(found.unread, found.troubles, found.groups["api"].files)
"""
        tree.chmod(0o755)
        (tree / "d1/deeper").chmod(0o700)
        python = Path(__file__).parents[1] / ".venv/bin/python"
        out = subprocess.check_output([python, "-c", code], pass_fds=[descriptor], text=True)
        os.close(descriptor)
        assert out.split("\n")[0] == f"1 [('{tree}/d1/deeper', 'Permission denied')] 3"
    else:
        (tree / "d1/deeper").chmod(0)
        found = walked(tree)
        (tree / "d1/deeper").chmod(0o755)
        assert found.troubles == [(str(tree / "d1/deeper"), "Permission denied")]


def test_a_deep_tree_needs_no_deep_stack(tmp_path: Path):
    """As many levels as a process has descriptors for, and one that is too deep is said and not entered."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (200, hard))
    here = os.open(tmp_path, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=here)
        deeper = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    try:
        found = walked(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert found.troubles[0][1] == "Too many open files"
    assert found.directories > 50


def test_many_services_are_summed_up(tmp_path: Path):
    """Memory does not grow with the number of names: beyond some thousand they are counted together."""
    for number in range(2100):
        (tmp_path / f"s{number}.log").touch()
    found = walked(tmp_path, top=5)
    assert found.groups[OTHERS].files == 100
    assert found.total.files == 2100


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Path]:
    try:
        with Disk("tmpfs") as disk:
            yield disk.folder
    except Skipped as reason:
        pytest.skip(str(reason))


def test_a_mount_point_inside_is_named_and_not_entered(mounted: Path):
    """What another file system holds is none of the directory's."""
    (mounted / "file").write_bytes(b"x" * 100_000)
    above = mounted.parent
    found = walked(above)
    assert found.mounts == [str(mounted)]
    assert found.total.disk == du(above) - 0
    assert not any("file" in path for _, path in found.largest)


@pytest.mark.parametrize("files", [0, 1, 10])
def test_it_says_that_it_goes_on_however_small_the_directories_are(tmp_path: Path, files: int):
    """A walk of many small directories, or empty ones, tells that it is at work: one that is silent would be ended."""
    for directory in range(5_000 // (files + 1)):
        (tmp_path / str(directory)).mkdir()
        for number in range(files):
            (tmp_path / str(directory) / str(number)).touch()
    told: list[int] = []
    walked(tmp_path, at=told.append)
    assert told
    assert told == sorted(told)


def test_below_the_root_paths_are_those_of_everybody(tree: Path):
    """A walk of / names what it finds by paths with one slash, as any other directory's."""
    (tree / "main.db").touch()
    descriptor = os.open(tree, os.O_RDONLY)
    found = Walk("/", 5, lambda _: None).run(descriptor)
    os.close(descriptor)
    assert max(found.largest)[1] == "/api.log"
    assert "/d3/deeper/file38.csv" in {path for _, path in found.largest}
    assert found.databases == ["/main.db"]
