"""A service's directory with what its user can put in the place of a name, and the process that does so all the time.

`app` is nobody's, as all in it but the vaults and what root makes. `outside` and the two vaults are root's, and hold a
file of every name that root could be led to: nothing of them may ever change.
"""

import ctypes
import mmap
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.tree import NOBODY

LOG, STAMP = "a.log", "20260101T000000Z"
ARCHIVE, MADE = f"{LOG}.{STAMP}", "made"
TEMPORARY = f"{LOG}.maintd-tmp"
BAITS = (LOG, ARCHIVE, f"{ARCHIVE}.zst", TEMPORARY, f"{ARCHIVE}.zst.maintd-tmp", "bait")


@dataclass(frozen=True)
class Swap:
    """Two names below `app` that are exchanged."""

    what: str
    one: str
    other: str


SWAPS = (
    Swap("directory, link", "logs", "lure"),
    Swap("directory, root's", "logs", "vault"),
    Swap("log, link", f"logs/{LOG}", "logs/lure"),
    Swap("log, root's", f"logs/{LOG}", "logs/roots"),
    Swap("archive, link", f"logs/{ARCHIVE}", "logs/lure"),
    Swap("olddir, link", "logs/old", "logs/way"),
    Swap("olddir, root's", "logs/old", "logs/vault"),
    Swap("temporary, link", f"logs/{TEMPORARY}", "logs/lure"),
    Swap("temporary, root's", f"logs/{TEMPORARY}", "logs/roots"),
    Swap("temporary of a copy, link", f"logs/{ARCHIVE}.zst.maintd-tmp", "logs/lure"),
    Swap("temporary of a copy, root's", f"logs/{ARCHIVE}.zst.maintd-tmp", "logs/roots"),
    Swap("new directory, root's", f"logs/{MADE}", "logs/vault"),
)


class Arena:
    """The directories, and descriptors of them that hold whatever they are called."""

    def __init__(self, root: Path) -> None:
        self.root, self.app, self.logs = root, root / "app", root / "app/logs"
        root.chmod(0o755)
        for path in (root / "outside", self.app, self.logs, self.logs / "old", self.app / "vault", self.logs / "vault"):
            path.mkdir()
        with ExitStack() as stack:
            self.logs_fd, self.old_fd, *self.protected = (
                _opened(path, stack)
                for path in (self.logs, self.logs / "old", root / "outside", self.app / "vault", self.logs / "vault")
            )
            self._descriptors = stack.pop_all()
        self.restore()
        for name, target in (("app/lure", "../outside"), ("app/logs/way", "../../outside")):
            self._link(name, target)
        for path in (self.app, self.logs, self.logs / "old"):
            os.chown(path, NOBODY, NOBODY)
        (self.logs / "old/keep").touch()  # so that it cannot be removed for the new directory
        self._own = {path.lstat().st_ino: path.name for folder in (self.app, self.logs) for path in folder.iterdir()}

    def close(self) -> None:
        self._descriptors.close()

    def _link(self, name: str, target: str) -> None:
        (self.root / name).symlink_to(target)
        os.chown(self.root / name, NOBODY, NOBODY, follow_symlinks=False)

    def restore(self) -> None:
        """Makes what is protected as it should be, and remembers that."""
        for descriptor in self.protected:
            os.fchown(descriptor, 0, 0)
            os.fchmod(descriptor, 0o700)
            for name in os.listdir(descriptor):
                _remove(name, descriptor)
            for name in BAITS:
                with _making(name, descriptor) as bait:
                    os.write(bait, b"root's own\n")
        self.intact = self._look()

    def is_touched(self) -> bool:
        """Whether anything was made, removed, changed or given away where root was not to be led."""
        return self._look() != self.intact

    def _look(self) -> list[tuple[object, ...]]:
        found: list[tuple[object, ...]] = []
        for descriptor in self.protected:
            info = os.fstat(descriptor)
            found.append((info.st_mode, info.st_uid, info.st_gid))
            for name in sorted(os.listdir(descriptor)):
                info = os.lstat(name, dir_fd=descriptor)
                found.append(
                    (name, info.st_ino, info.st_mode, info.st_uid, info.st_size, info.st_mtime_ns, info.st_ctime_ns)
                )
        return found

    def settle(self) -> None:
        """Gives everything its own name again; nobody must be at work."""
        places = {self.app: ("logs", "vault", "lure"), self.logs: ("old", "vault", "way")}
        for folder, names in places.items():
            for name in set(os.listdir(folder)) & {*names, MADE}:
                (folder / name).rename(folder / f"{name}~")
            for path in list(folder.glob("*~")):
                name = self._own.get(path.lstat().st_ino)
                if name:
                    path.rename(folder / name)
                else:  # one that was made
                    path.rmdir()
        self.tidy()

    def tidy(self) -> None:
        """Leaves the directory as a round finds it: with its lures, and with neither log nor archive."""
        for descriptor, kept in ((self.logs_fd, {"old", "vault", "way", MADE}), (self.old_fd, {"keep"})):
            for name in set(os.listdir(descriptor)) - kept:
                _remove(name, descriptor)
        for name in (MADE, "vault"):  # whichever of them is the new one; the others are not empty
            with suppress(OSError):
                os.rmdir(name, dir_fd=self.logs_fd)
        if "vault" not in (left := os.listdir(self.logs_fd)) and MADE in left:
            with suppress(OSError):
                os.rename(MADE, "vault", src_dir_fd=self.logs_fd, dst_dir_fd=self.logs_fd)
        with suppress(FileExistsError):
            os.symlink("../../outside/bait", "lure", dir_fd=self.logs_fd)
        with suppress(FileExistsError), _making("roots", self.logs_fd) as file:
            os.write(file, b"root's own, in here\n")

    def put(self, name: str, uid: int) -> os.stat_result:
        """A file in the log's directory, of root's or of nobody's."""
        with _making(name, self.logs_fd) as file:
            os.write(file, b"a line\n" * 10)
            os.fchown(file, uid, uid)
            return os.fstat(file)


@contextmanager
def arena() -> Iterator[Arena]:
    """In memory if that is to be had, where a round takes a tenth of the time."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="maintd-races-", dir=place) as name:
        made = Arena(Path(name).resolve())
        try:
            yield made
        finally:
            made.close()


@contextmanager
def swapping(made: Arena, swap: Swap) -> Iterator[mmap.mmap]:
    """While in the block nobody exchanges the two names; yields eight bytes that count how often it did (native)."""
    path = made.root / "count"
    path.write_bytes(bytes(8))
    path.chmod(0o666)
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 8) as count:
        command = [sys.executable, "-IS", "-c", _SWAPS, str(path), swap.one, swap.other]
        made.settle()
        process = subprocess.Popen(command, stdin=subprocess.PIPE, cwd=made.app)
        try:
            while not int.from_bytes(count, sys.byteorder) and process.poll() is None:
                made.tidy()
                if swap.one.startswith("logs/") and swap.one not in ("logs/old", f"logs/{MADE}"):
                    with suppress(FileExistsError):
                        made.put(swap.one.removeprefix("logs/"), NOBODY)
                elif swap.one == f"logs/{MADE}":
                    with suppress(FileExistsError):
                        os.mkdir(MADE, dir_fd=made.logs_fd)
            yield count
        finally:
            process.kill()
            process.communicate()


_SWAPS = f"""
import ctypes, mmap, os, sys
path, one, other = sys.argv[1:]
libc = ctypes.CDLL(None)
with open(path, "r+b") as file:
    count = ctypes.c_uint64.from_buffer(mmap.mmap(file.fileno(), 8))
os.setgroups([])
os.setresgid({NOBODY}, {NOBODY}, {NOBODY})
os.setresuid({NOBODY}, {NOBODY}, {NOBODY})
swap, one, other, here, exchange = libc.renameat2, one.encode(), other.encode(), ctypes.c_int(-100), ctypes.c_uint(2)
while True:
    for _ in range(100):
        if swap(here, one, here, other, exchange) == 0:
            count.value += 1
    libc.truncate(b"logs/{LOG}", 0)  # what a service does with its own log
"""


def _opened(path: Path, stack: ExitStack) -> int:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    stack.callback(os.close, descriptor)
    return descriptor


@contextmanager
def _making(name: str, dir_fd: int) -> Iterator[int]:
    descriptor = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=dir_fd)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _remove(name: str, dir_fd: int) -> None:
    with suppress(FileNotFoundError):
        try:
            os.unlink(name, dir_fd=dir_fd)
        except IsADirectoryError:
            with suppress(OSError):
                os.rmdir(name, dir_fd=dir_fd)


assert ctypes.CDLL(None).renameat2, "a C library from glibc 2.28 on"
