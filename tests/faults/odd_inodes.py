"""What a service, or an accident, can put in the place of a file: made at a path, and undone so that it can go."""

import os
import socket
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

TEBIBYTE = 1 << 40
POWERLESS = "mode 000, without capabilities"

Make = Callable[[Path, Path], None]


def _socket(path: Path, _: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))


def _directory(path: Path, _: Path) -> None:
    path.mkdir()
    (path / "inside").write_text("precious\n")


def _run(*argv: str | Path) -> None:
    subprocess.run(argv, check=True, capture_output=True)


INSTEAD: dict[str, Make] = {
    "FIFO": lambda path, _: os.mkfifo(path),
    "socket": _socket,
    "device": lambda path, _: os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 3)),
    "directory": _directory,
    "looping link": lambda path, _: path.symlink_to(path.name),
    "dangling link": lambda path, _: path.symlink_to("nowhere"),
    "link": lambda path, outside: path.symlink_to(outside / "precious"),
    "link to a directory": lambda path, outside: path.symlink_to(outside),
}
"""What is made in the place of a file."""

ALTERED: dict[str, Make] = {
    "hard link": lambda path, outside: os.link(path, outside / path.name),
    "set-user-ID": lambda path, _: path.chmod(0o6755),
    "1 TiB, sparse": lambda path, _: os.truncate(path, TEBIBYTE),
    "chattr +a": lambda path, _: _run("chattr", "+a", path),
    "chattr +i": lambda path, _: _run("chattr", "+i", path),
    "mode 000": lambda path, _: path.chmod(0),
    POWERLESS: lambda path, _: path.chmod(0),
    "mount point": lambda path, outside: _run("mount", "--bind", outside / "precious", path),
}
"""What is done to a file that is there."""


def undo(kind: str, path: Path) -> None:
    """Lets the file be removed again, wherever maintd may have moved it."""
    if kind == "mount point":
        subprocess.run(["umount", path], check=False, capture_output=True)
    if kind.startswith("chattr"):
        subprocess.run(["chattr", "-R", "-a", "-i", path.parent], check=False, capture_output=True)
