"""The laboratory itself: it sees every call that changes the tree, does what it is told to, and its oracle can fail."""

import errno
import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.conftest import PROGRAM, environment

from . import calls, lines
from .kills import kill_at
from .lab import Call, Fail
from .lines import Book
from .place import Place
from .scenes import SCENES
from .trial import Bench

READS = re.compile(
    r"read|pread64|readv|lseek|close|openat2?|l?stat|newfstatat|f?statfs|fstat|statx|f?access(at2?)?|readlink(at)?|"
    r"getdents64|fcntl|flock|ioctl|mmap|fadvise64|dup[23]?|f?chdir|execve|[fl]?getxattr|[fl]?listxattr|getcwd|poll|p?select6?"
)
"""Calls about files that change none of them."""


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def traced(place: Place, record: str) -> list[tuple[str, str]]:
    """The name and text of every call about the place's files in a run, as strace sees them."""
    command = [PROGRAM, "-c", place.config, "do", "--all", "--json"]
    try:
        subprocess.run(
            ["strace", "-f", "-y", "-qq", "-o", record, *command],
            check=True,
            capture_output=True,
            env=environment(PYTHONDONTWRITEBYTECODE="1"),
        )
    except FileNotFoundError:
        pytest.skip("strace is not installed: apt-get install strace")
    with open(record, errors="replace") as text:
        found = (re.match(r"\d+ +(\w+)\((.*)", line) for line in text if str(place.folder) in line)
        return [(match[1], match[2]) for match in found if match]


def is_change(name: str, text: str) -> bool:
    opens = name.startswith("openat")
    return name in {kind.name for kind in calls.KINDS.values()} and (
        not opens or "O_CREAT" in text or "O_TRUNC" in text
    )


def test_the_lab_sees_every_call_that_strace_sees(bench, tmp_path):
    """Nothing changes the tree behind the lab's back: its calls are those of strace, and the others only read."""
    scene = SCENES["two logs"]
    seen = Counter(call.name for call in bench.play(scene, bench.set(scene)).calls if call.files)
    found = traced(bench.set(scene), str(tmp_path / "trace"))
    assert Counter(name for name, text in found if is_change(name, text)) == seen
    assert [name for name, text in found if not is_change(name, text) and not READS.fullmatch(name)] == []


def test_a_call_at_which_it_is_killed_is_not_made(bench):
    """The kill comes before the call, and nothing outlives it."""
    scene = SCENES["nobody"]
    place = bench.set(scene)
    (rename,) = (call for call in bench.play(scene, place).calls if call.name == "renameat2" and "tmp" not in str(call))
    place = bench.set(scene)
    ran = bench.play(scene, place, kill_at(rename.number))
    assert (ran.code, ran.orphans, place.names()) == (-9, 0, ["a.log", "a.log.maintd-tmp"])


def test_a_call_that_is_to_fail_fails_with_that_errno(bench):
    """The program meets the errno that it was given, and nothing else."""
    scene = SCENES["nobody"]

    def decide(call: Call) -> Fail | None:
        return Fail(errno.EDQUOT) if call.name == "renameat2" else None

    ran = bench.play(scene, bench.set(scene), decide)
    assert [event["error"] for event in ran.events(".failed")] == ["EDQUOT"]


def _lose(content: bytes) -> bytes:
    return b"".join(content.splitlines(keepends=True)[:-1])


DAMAGE = {
    "lost": _lose,
    "doubled": lambda content: content + content.splitlines(keepends=True)[0],
    "torn": lambda content: content[:-5],
    "nul": lambda content: content + bytes(4096) + b"\n",
    "disordered": lambda content: b"".join(reversed(content.splitlines(keepends=True))),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_the_oracle_sees_what_is_wrong_with_lines(tmp_path, what):
    """Lines that are lost, doubled, torn, NUL, or out of order are noticed, each as what it is."""
    book = Book()
    content = book.text("a.log", 10)
    (tmp_path / "a.log").write_bytes(DAMAGE[what](content))
    (tmp_path / "a.log.20260101T000000Z").write_bytes(b"")
    verdict = lines.look(tmp_path, book)
    assert getattr(verdict, what)
    assert not verdict.is_clean


@pytest.mark.parametrize("name", ["a.log.20260101T000000Z.zst", "a.log.20260101T000000Z.gz", "a.log.maintd-tmp"])
def test_the_oracle_sees_files_that_are_not_whole(tmp_path, name):
    """What does not decompress under a final name is half-written, and a temporary is one."""
    book = Book()
    (tmp_path / "a.log").write_bytes(book.text("a.log", 10))
    (tmp_path / name).write_bytes(b"")
    verdict = lines.look(tmp_path, book)
    assert verdict.halves + verdict.temporaries == [name]
    assert not verdict.is_clean


def test_the_oracle_reads_generations_in_their_order(tmp_path):
    """Lines over archives, their sequence numbers, and the live log are one row; what may go may be missing."""
    book = Book()
    os.mkdir(tmp_path / "old")
    for name in ("old/a.log.20260101T000000Z", "a.log.20260102T000000Z", "a.log.20260102T000000Z-2", "a.log"):
        (tmp_path / name).write_bytes(book.text("a.log", 10))
    assert lines.look(tmp_path, book).is_clean
    (tmp_path / "old/a.log.20260101T000000Z").unlink()
    assert not lines.look(tmp_path, book).is_clean
    book.may_go = set(range(1, 11))
    assert lines.look(tmp_path, book).is_clean
