"""A folder of logs with a config, on which the real `maintd` command is run as a person would."""

import atexit
import hashlib
import json
import os
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backports import zstd
from zlib_ng import gzip_ng

from maintd.names import TEMPORARY

from .conftest import environment

ROOT = Path(__file__).resolve().parents[1]
MAINTD = ROOT / ".venv/bin/maintd"
NOBODY = 65534


@dataclass(frozen=True)
class Did:
    """How a `maintd do --json` went."""

    code: int
    messages: list[dict[str, Any]]
    stderr: str

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        found = [message for message in self.messages if message["type"] == "event"]
        return [event for event in found if name is None or event["event"] == name]

    def event(self, name: str) -> dict[str, Any]:
        """The one event of that name."""
        found = self.events(name)
        assert len(found) == 1, f"{len(found)} of {name}:\n{self}"
        return found[0]

    def names(self) -> list[str]:
        return [event["event"] for event in self.events()]

    def __str__(self) -> str:
        return "\n".join([f"exit {self.code}", *map(json.dumps, self.messages), self.stderr])


class Forks:
    """Runs the program in a process of its own each time, forked from one that has loaded it: 10 times faster."""

    _known: "Forks | None" = None

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [MAINTD.with_name("python"), "-c", LOADED],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd="/",
            env=environment(),
        )
        atexit.register(self._end)

    @classmethod
    def of_this_process(cls) -> "Forks":
        cls._known = cls._known or cls()
        return cls._known

    def run(self, arguments: list[str]) -> "subprocess.CompletedProcess[str]":
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            self._process.stdin.write(json.dumps([arguments, out.name, err.name]).encode() + b"\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return subprocess.CompletedProcess(
                arguments, code, out.read().decode(errors="surrogateescape"), err.read().decode()
            )

    def _end(self) -> None:
        self._process.communicate(timeout=10)


LOADED = """
import json, os, sys
from maintd import cli
for verb in ("check", "status", "plan", "do", "pause", "resume", "reload", "logs", "beat"):
    cli._Verbs()[verb]
import maintd.runner, maintd.rotation, maintd.client

for line in sys.stdin:
    arguments, out, err = json.loads(line)
    child = os.fork()
    if child == 0:
        for place, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
            os.dup2(os.open(place, os.O_RDWR), descriptor)
        sys.argv = ["maintd", *arguments]
        try:
            cli.main()
        except SystemExit as ending:
            code = int(ending.code or 0)
        except BaseException:
            import traceback
            traceback.print_exc()
            code = 99
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    _, status = os.waitpid(child, 0)
    os.write(1, b"%d\\n" % os.waitstatus_to_exitcode(status))
"""


class Tree:
    """`logs` is empty at first; in the config, LOGS stands for it and HERE for the folder."""

    def __init__(self, folder: Path, jobs: str = "") -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.config = folder / "maintd.toml"
        self.write_config(jobs)

    def write_config(self, jobs: str, daemon: str = "") -> None:
        head = f'[daemon]\nstate_dir = "{self.folder}/state"\nruntime_dir = "{self.folder}/run"\n{daemon}\n'
        head += f'[supervisor]\nurl = "unix://{self.folder}/supervisor.sock"\n'
        text = head + jobs.replace("LOGS", str(self.logs)).replace("HERE", str(self.folder))
        self.config.write_text(text)
        self.config.chmod(0o644)

    def log(self, name: str, content: bytes = b"one line\n", *, age: float = 0) -> Path:
        """A file below logs, last changed `age` seconds ago."""
        path = self.logs / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        self.make_older(path, age)
        return path

    def make_older(self, path: Path, age: float) -> None:
        then = path.lstat().st_mtime - age
        os.utime(path, (then, then))

    def run(self, *arguments: str, powerless: bool = False) -> "subprocess.CompletedProcess[str]":
        """Runs the command; `powerless` as root without any capability, for whom the rights of files count."""
        line = ["-c", str(self.config), *arguments]
        if not powerless:
            return Forks.of_this_process().run(line)
        drop = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
        return subprocess.run([*drop, MAINTD, *line], check=False, capture_output=True, text=True, timeout=60, cwd="/")

    def do(self, *jobs: str, powerless: bool = False) -> Did:
        done = self.run("do", *(jobs or ["--all"]), "--json", powerless=powerless)
        assert "Traceback" not in done.stderr, done.stderr
        return Did(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)

    def plan(self, *jobs: str) -> list[dict[str, Any]]:
        """The steps that `maintd plan` shows."""
        done = self.run("plan", *jobs, "--json")
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    def names(self) -> list[str]:
        """The files below logs, sorted."""
        return sorted(str(path.relative_to(self.logs)) for path in files(self.logs))

    def temporaries(self) -> list[str]:
        return [name for name in self.names() if name.endswith(TEMPORARY)]

    def contents(self) -> "Counter[str]":
        """How often each content is there, whole: compressed or not, wherever it was moved to; temporaries apart."""
        kept = [path for path in files(self.logs) if not path.name.endswith(TEMPORARY) and path.lstat().st_size]
        return Counter(hashlib.sha256(content(path)).hexdigest() for path in kept)


def files(folder: Path) -> Iterator[Path]:
    for directory, _, names in os.walk(folder):
        for name in names:
            path = Path(directory, name)
            if path.is_file() and not path.is_symlink():
                yield path


def content(path: Path) -> bytes:
    """What a file held before it was compressed."""
    data = path.read_bytes()
    if path.name.endswith(".zst") and data.startswith(b"\x28\xb5\x2f\xfd"):
        return zstd.decompress(data)
    if path.name.endswith(".gz") and data.startswith(b"\x1f\x8b"):
        return gzip_ng.decompress(data)
    return data
