"""One log with a config of its own, and a rotation of it by either program."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from tests.conftest import environment

from .beside import EXECUTABLE, Did, ours

OURS = [str(EXECUTABLE)]
STRACE = "/usr/bin/strace"
traced = pytest.mark.skipif(not os.access(STRACE, os.X_OK), reason="apt-get install strace")
FILLING = b"filling " * 8191 + b"filling\n"


def rotate(program: list[str], folder: Path, *options: str) -> Did:
    arguments = [*options, "-s", str(folder / "state"), str(folder / "conf")]
    if program == OURS:
        return ours(*arguments)
    argv = [*program, *arguments]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False, timeout=120)
    return Did(done.returncode, done.stdout, done.stderr)


def laid(folder: Path, body: str, size: int = 0) -> Path:
    """A log with that many bytes, and a config for it."""
    folder.mkdir()
    folder.chmod(0o755)
    (folder / "conf").write_text(f"{folder}/app.log {{\nrotate 9\n{body}\n}}\n")
    (folder / "conf").chmod(0o644)
    log = folder / "app.log"
    with log.open("wb") as file:
        for _ in range(size // len(FILLING)):
            file.write(FILLING)
    return log


def gathered(files: list[Path]) -> list[bytes]:
    """What these files hold, uncompressed; the empty ones are left out."""
    contents = [path.read_bytes() for path in sorted(files)]
    whole = [gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data for data in contents]
    return [data for data in whole if data]
