"""A small file system of its own, which can be cut from power, filled up, and made read-only in the middle."""

import contextlib
import ctypes
import fcntl
import os
import struct
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import until

from .table import Skipped

SIZE = 24 << 20
_SHUTDOWN = 0x8004587D  # EXT4_IOC_SHUTDOWN, fs/ext4/ext4.h
KEEP_JOURNAL, LOSE_JOURNAL = 1, 2
"""What a power cut leaves: the journal as it is by then, but data that was not synced is lost; or neither."""
_OPTIONS = {"ext4": "loop,commit=300,errors=remount-ro", "tmpfs": "size={size}"}
"""Nothing gets onto the disk by the passing of time alone: the journal is written when somebody asks for it."""


class Disk:
    """An ext4 in an image in memory, or a tmpfs, mounted while in the block. Raises Skipped where that cannot be."""

    def __init__(self, kind: str = "ext4", size: int = SIZE) -> None:
        self.kind, self.size = kind, size

    def __enter__(self) -> Self:
        if os.geteuid() != 0:
            raise Skipped("it mounts file systems: run as root, sudo make faults")
        memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
        self._temporary = tempfile.TemporaryDirectory(prefix="faults-disk-", dir=memory)
        here = Path(self._temporary.name)
        self._image, self.folder = here / "image", here / "mount"
        self.folder.mkdir()
        self._image.write_bytes(b"")
        self.renew()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._unmount()
        self._temporary.cleanup()

    def renew(self, size: int = 0) -> None:
        """An empty file system in place of this one, of so many bytes, or as many as at first."""
        if self.folder.is_mount():
            self._unmount()
        os.truncate(self._image, size or self.size)
        if self.kind == "ext4":
            _run("mkfs.ext4", "-q", "-F", "-m", "0", "-b", "4096", "-N", "256", str(self._image))
        self._mount()

    def sync(self) -> None:
        """Has everything on the disk that was written so far (syncfs(2))."""
        with self._opened() as descriptor:
            ctypes.CDLL(None).syncfs(descriptor)

    def cut(self, how: int) -> None:
        """The power goes: nothing more gets onto the disk, and only `remount` brings back what had got there."""
        with self._opened() as descriptor:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", how))

    def remount(self) -> None:
        """Looks at the disk anew, as after a start of the machine, and mends what can be mended."""
        self._unmount()
        mended = subprocess.run(["e2fsck", "-fy", self._image], check=False, capture_output=True, text=True)
        assert mended.returncode < 4, mended.stdout
        self._mount()

    def break_down(self) -> None:
        """An error of the file system, after which it is read-only (errors=remount-ro)."""
        device = _run("findmnt", "-n", "-o", "SOURCE", str(self.folder)).strip()
        Path("/sys/fs/ext4", os.path.basename(device), "trigger_fs_error").write_text("1")

    def make_read_only(self) -> bool:
        """As an operator does it; False if a file is open for writing, when it is not to be had."""
        return _done("mount", "-o", "remount,ro", str(self.folder))

    def make_writable(self) -> None:
        _run("mount", "-o", "remount,rw", str(self.folder))

    def fill(self, leave: int) -> Path:
        """A file that takes all space but so many bytes (whole blocks, at most)."""
        filler = self.folder / "filler"
        with filler.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while file.write(bytes(1 << 16)):
                pass
        info = os.statvfs(self.folder)
        os.truncate(filler, max(0, filler.stat().st_size - leave + info.f_bavail * info.f_frsize))
        self.sync()
        return filler

    @contextlib.contextmanager
    def _opened(self):
        descriptor = os.open(self.folder, os.O_RDONLY)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _mount(self) -> None:
        what = self._image if self.kind == "ext4" else "maintd-faults"
        if not _done(
            "mount", "-t", self.kind, "-o", _OPTIONS[self.kind].format(size=self.size), str(what), str(self.folder)
        ):
            raise Skipped(f"no {self.kind} can be mounted here: run as root where it can, sudo make faults")

    def _unmount(self) -> None:
        until(lambda: _done("umount", str(self.folder)), "nobody else's look at it")  # a scan, a fork before its exec
        until(lambda: not _run("losetup", "-j", str(self._image)), "the loop device to let go of the image")


def _done(*command: str) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def _run(*command: str) -> str:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"
    return done.stdout
