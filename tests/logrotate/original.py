"""Debian's logrotate as an oracle: what it says of config files with -d, and what maintd says of them, side by side."""

import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from maintd.logrotate import logs, sources
from maintd.logrotate.stanza import Criteria, Stanza

PROGRAM = next((path for path in ("/usr/sbin/logrotate", "/usr/bin/logrotate") if os.access(path, os.X_OK)), None)
needed = pytest.mark.skipif(PROGRAM is None, reason="apt-get install logrotate")
_ERROR = re.compile(r"^error: (\S*/)?([^/:\s]+):(\d+),? ", re.MULTILINE)
_NOTE = re.compile(r"^note: (.*)$", re.MULTILINE)
_STANZA = re.compile(r"^rotating pattern: (.*?(?:removed|mailed to \S+)\n)", re.MULTILINE | re.DOTALL)
_LOG = re.compile(r"^considering log (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Said:
    """What is said of config files: the exit code, (file, line) of each error, and each stanza with its logs.

    A stanza is its names, its criterion, how many archives it keeps, and more, as logrotate -d prints that.
    """

    code: int
    errors: list[tuple[str, int]]
    notes: list[str]
    stanzas: list[tuple[str, list[str]]]


def write(folder: Path, files: str | Mapping[str, str]) -> None:
    """Config files below a folder, in which L/ stands for its folder of logs, HERE for itself; one is called c."""
    (folder / "l").mkdir(exist_ok=True)
    for name in ("a", "b", "c d"):
        (folder / "l" / name).write_text("x\n")
    for name, text in ({"c": files} if isinstance(files, str) else files).items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(_placed(folder, text).encode("utf-8", "surrogateescape"))
        path.chmod(0o644)


def stanza(folder: Path, body: str, before: str = "") -> Stanza:
    """The one stanza of a config that has this in it, and that before it."""
    write(folder, f"{before}\nL/a {{\n{body}\n}}\n")
    reading = sources.read([str(folder / "c")])
    assert not reading.failed, reading.complaints
    (found,) = reading.stanzas
    return found


def debug(folder: Path, paths: Sequence[str] = ("c",)) -> tuple[int, str]:
    """logrotate -d: its exit code and what it prints."""
    assert PROGRAM is not None
    argv = [PROGRAM, "-d", "-s", "/dev/null", *paths]
    done = subprocess.run(argv, cwd=folder, capture_output=True, check=False, timeout=20)
    return done.returncode, done.stderr.decode("utf-8", "surrogateescape")


def original(folder: Path, paths: Sequence[str] = ("c",)) -> Said:
    """What logrotate says with -d."""
    code, text = debug(folder, paths)
    stanzas = []
    for found, after in zip(_STANZA.finditer(text), [*_STANZA.split(text)[2::2]], strict=True):
        stanzas.append((" ".join(found[1].split()), _LOG.findall(after)))
    errors = [(name, int(line)) for _, name, line in _ERROR.findall(text)]
    return Said(code, errors, _NOTE.findall(text), stanzas)


def ours(folder: Path, paths: Sequence[str] = ("c",)) -> Said:
    """What maintd says of the same files. Logs that are missing would make both fail; they are no matter of config."""
    before = os.getcwd()
    os.chdir(folder)
    try:
        reading = sources.read(paths)
        expansion = logs.expand(reading.stanzas)
    finally:
        os.chdir(before)
    found = [*reading.complaints, *expansion.complaints]
    complaints = [each for each in found if not each.text.startswith("cannot stat")]  # where logrotate gives no line
    errors = [(os.path.basename(each.file), each.line) for each in complaints if each.level == "error" and each.line]
    missing = any(
        not os.path.lexists(log) for each in expansion.sets for log in each.logs if not each.stanza.options.missingok
    )
    return Said(
        int(reading.failed or expansion.failed or missing),
        errors,
        [each.text for each in reading.complaints if each.level == "note" and each.line],
        [(" ".join(_described(each.stanza).split()), list(each.logs)) for each in expansion.sets],
    )


def agree(folder: Path, paths: Sequence[str] = ("c",)) -> None:
    """Holds that both say the same; the order of errors apart, since maintd looks for logs when all files are read."""
    theirs, mine = original(folder, paths), ours(folder, paths)
    assert (mine.code, sorted(mine.errors), mine.notes) == (theirs.code, sorted(theirs.errors), theirs.notes)
    assert mine.stanzas == theirs.stanzas


def _placed(folder: Path, text: str) -> str:
    return text.replace("L/", f"{folder}/l/").replace("HERE", str(folder))


def _described(stanza: Stanza) -> str:
    options, criteria = stanza.options, stanza.options.criteria
    kept = {-1: "", 0: "(no old logs will be kept)\n"}.get(options.rotate, f"({options.rotate} rotations)\n")
    parts = [f"olddir is {options.olddir}, " if options.olddir else ""]
    parts.append(f"empty log files are {'' if options.ifempty else 'not '}rotated, ")
    parts.append(f"only log files >= {criteria.minsize} bytes are rotated, " if criteria.minsize else "")
    parts.append(f"log files >= {criteria.maxsize} are rotated earlier, " if criteria.maxsize else "")
    parts.append(f"only log files older than {criteria.minage} days are rotated, " if criteria.minage else "")
    parts.append(f"old logs mailed to {options.mail}" if options.mail else "old logs are removed")
    return f"{stanza.text} {_criterion(criteria)} {kept}{''.join(parts)}"


def _criterion(criteria: Criteria) -> str:
    return {"size": f"{criteria.size} bytes", "daily": "after 1 days"}.get(criteria.kind, criteria.kind)
