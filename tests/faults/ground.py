"""A folder on a file system of a given kind: where we are, if it is of that kind, or one that is mounted for it."""

import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from .table import Skipped

SIZES = {"ext4": 6 << 30, "tmpfs": 4 << 30}
"""Bytes of a file system that is mounted for it; on ext4 a sparse file."""


@contextmanager
def ground(kind: str) -> Iterator[Path]:
    """A folder on ext4 or tmpfs, gone after the block. Raises Skipped if there is none and none can be mounted."""
    with tempfile.TemporaryDirectory(prefix="maintd-storm-") as name:
        folder = Path(name).resolve()
        if kind_of(folder) == kind:
            yield folder
        elif os.geteuid() == 0:
            with _mounted(kind, folder) as place:
                yield place
        elif kind == "tmpfs" and kind_of(Path("/dev/shm")) == kind:
            with tempfile.TemporaryDirectory(prefix="maintd-storm-", dir="/dev/shm") as shared:
                yield Path(shared)
        else:
            raise Skipped(f"{folder} is on no {kind}, and only root can mount one: run as root, or with TMPDIR there")


def kind_of(folder: Path) -> str:
    """The type of the file system that a folder is on."""
    mounts = {Path(mount.mountpoint): mount.fstype for mount in psutil.disk_partitions(all=True)}
    return next(mounts[place] for place in [folder, *folder.parents] if place in mounts)


@contextmanager
def _mounted(kind: str, folder: Path) -> Iterator[Path]:
    place, image = folder / "mount", folder / "image"
    place.mkdir()
    size = SIZES[kind]
    if kind == "tmpfs":
        arguments = ["-t", "tmpfs", "-o", f"size={size}", "maintd-storm"]
    else:
        with image.open("wb") as file:
            file.truncate(size)
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
        arguments = ["-o", "loop", str(image)]
    made = subprocess.run(["mount", *arguments, place], check=False, capture_output=True, text=True)
    if made.returncode:
        raise Skipped(f"cannot mount a {kind}: {made.stderr.strip()}: run where mounting is allowed")
    try:
        yield place
    finally:
        with suppress(subprocess.CalledProcessError):
            subprocess.run(["umount", place], check=True)
