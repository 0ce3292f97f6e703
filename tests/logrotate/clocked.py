"""The installed logrotate as an oracle under another clock, with a config, a state file and logs of a test's own."""

import gzip
import os
import shutil  # noqa: TID251 - only to find a tool
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from maintd.logrotate.stanza import Criteria, Options

from .original import PROGRAM

FAKETIME = shutil.which("faketime")
needed = pytest.mark.skipif(PROGRAM is None or FAKETIME is None, reason="apt-get install logrotate faketime")
Tree = dict[str, bytes]
_NOT_ITS_OWN, _TRIES = "faketime: sem_open: File exists", 9
"""faketime's name for a semaphore is its pid: one that was killed has left that of an earlier process."""


@dataclass(frozen=True)
class Original:
    """logrotate in a folder, where it finds its config `c` and its state `s`, at a time of day in a zone."""

    folder: Path
    now: datetime
    zone: str = "UTC"

    def run(self, config: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        assert PROGRAM is not None
        assert FAKETIME is not None
        (self.folder / "c").write_text(config)
        (self.folder / "c").chmod(0o644)
        environment = {**os.environ, "TZ": self.zone, "NO_FAKE_STAT": "1"}
        line = [FAKETIME, "-f", f"{self.now:%Y-%m-%d %H:%M:%S}", PROGRAM, *arguments, "-s", "s", "c"]
        for _ in range(_TRIES):
            done = subprocess.run(
                line, cwd=self.folder, env=environment, capture_output=True, text=True, errors="surrogateescape",
                check=False, timeout=20,
            )  # fmt: skip
            if _NOT_ITS_OWN not in done.stderr:
                break
        return done

    def state(self, text: str | bytes) -> None:
        path = self.folder / "s"
        path.write_bytes(text if isinstance(text, bytes) else os.fsencode(text))
        path.chmod(0o600)

    def local(self, moment: datetime) -> datetime:
        return moment.replace(tzinfo=ZoneInfo(self.zone))


def lay(folder: Path, files: Mapping[str, float], now: float) -> None:
    """Files by their age in seconds; each holds its name, compressed where the name says so."""
    for name, age in files.items():
        content = name.encode()
        (folder / name).write_bytes(gzip.compress(content, mtime=0) if name.endswith(".gz") else content)
        os.utime(folder / name, (now - age, now - age))


def tree(folder: Path) -> Tree:
    """What the files of a folder hold, uncompressed."""
    found = {}
    for path in folder.iterdir():
        data = path.read_bytes()
        found[path.name] = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    return found


def stanza(log: Path, options: Options, *more: str) -> str:
    """A config for one log with these options, of those that say what is due and how archives are called."""
    lines = [*_criteria(options.criteria), f"rotate {options.rotate}", f"start {options.start}", *more]
    for name in ("compress", "delaycompress", "dateext", "dateyesterday", "datehourago", "copy", "copytruncate"):
        lines += [name] if getattr(options, name) else []
    for name in ("compressext", "extension", "addextension", "dateformat", "olddir"):
        value = getattr(options, name)
        lines += [f"{name} {value}"] if value is not None else []
    lines += [] if options.ifempty else ["notifempty"]
    return f'"{log}" {{\n' + "\n".join(lines) + "\n}\n"


def _criteria(criteria: Criteria) -> Sequence[str]:
    first = {"size": f"size {criteria.size}", "weekly": f"weekly {criteria.weekday}"}.get(criteria.kind, criteria.kind)
    numbers = ("minsize", "maxsize", "minage", "maxage")
    return [first, *(f"{name} {value}" for name in numbers if (value := getattr(criteria, name)))]
