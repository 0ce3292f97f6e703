"""Debian's logrotate and maintd on equal trees, one after the other in the same place, and what each leaves behind."""

import atexit
import gzip
import json
import os
import re
import shutil  # noqa: TID251 - trees of a test's own
import stat as st
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from tests.conftest import environment
from tests.tree import MAINTD

from .original import PROGRAM

NOBODY, DAEMON, GAMES = 65534, 1, 5
Tree = dict[str, tuple[str, int, int, int, bytes | str]]

EXECUTABLE = MAINTD.with_name("maintd-logrotate")
LOADED = """
import json, os, sys
from maintd import cli
from maintd.cli import logrotate
import maintd.commands, maintd.moves

for line in sys.stdin:
    arguments, out, err, uid, cwd = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(cwd)
        for place, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
            os.dup2(os.open(place, os.O_RDWR), descriptor)
        if uid:
            os.setgroups([])
            os.setresgid(uid, uid, uid)
            os.setresuid(uid, uid, uid)
        sys.argv = arguments
        try:
            cli.main() if arguments[0] == "maintd" else logrotate.main()
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


class Forks:
    """Runs maintd-logrotate, or `maintd`, in a process of its own each time, forked from one that has loaded it."""

    _known: "Forks | None" = None

    def __init__(self) -> None:
        argv = [MAINTD.with_name("python"), "-c", LOADED]
        self._process = subprocess.Popen(
            argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd="/", env=environment()
        )
        atexit.register(self._process.communicate, timeout=10)

    @classmethod
    def of_this_process(cls) -> "Forks":
        cls._known = cls._known or cls()
        return cls._known

    def run(self, *arguments: str | Path, uid: int = 0, cwd: str | Path = "/") -> "Did":
        """The first argument is the name of the program; another `uid` than root's is that of its user and group."""
        assert self._process.stdin
        assert self._process.stdout
        with tempfile.NamedTemporaryFile() as out, tempfile.NamedTemporaryFile() as err:
            asked = [[str(argument) for argument in arguments], out.name, err.name, uid, str(cwd)]
            self._process.stdin.write(json.dumps(asked).encode() + b"\n")
            self._process.stdin.flush()
            code = int(self._process.stdout.readline())
            return Did(code, out.read().decode(errors="replace"), err.read().decode(errors="replace"))


def ours(*arguments: str | Path, uid: int = 0, cwd: str | Path = "/") -> "Did":
    """How maintd-logrotate goes with these arguments."""
    return Forks.of_this_process().run("maintd-logrotate", *arguments, uid=uid, cwd=cwd)


@dataclass(frozen=True)
class Did:
    """How a run went, and what it left: the files, when each log was rotated, what scripts and mailers noted."""

    code: int
    stdout: str
    stderr: str
    tree: Tree = field(default_factory=dict)
    state: dict[str, str] = field(default_factory=dict)
    trace: str = ""


@dataclass(frozen=True)
class Case:
    """A shell script that makes files in an empty folder, and a config, in which L is that folder and T the trace.

    `state` are lines of the state file, in which NOW and OLD are times.
    """

    files: str
    config: str
    state: str = ""
    options: tuple[str, ...] = ("-f",)


class Place:
    """A folder with one for logs, in which each case is laid anew for each program."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        folder.chmod(0o755)
        for above in folder.parents[:2]:  # pytest's own are for root alone, and another user is to come through
            above.chmod(0o755)
        self.logs = folder / "l"
        self.state = folder / "s"
        self.trace = folder / "trace"
        self.config = folder / "c"
        for name, text in (
            ("mailer", 'echo "mail $# [$1] [$2] [$3] $(cat)"'),
            ("cc", 'echo "cc $# [$1] [$2] $(basename $LOGROTATE_COMPRESSED_FILENAME)"'),
        ):
            program = folder / name
            more = "echo compressed; cat\n" if name == "cc" else ""
            program.write_text(f"#!/bin/sh\n{text} >> {self.trace}\n{more}")
            program.chmod(0o755)

    def theirs(self, case: Case) -> Did:
        self._lay(case)
        assert PROGRAM is not None
        argv = [PROGRAM, *self._arguments(case)]
        done = subprocess.run(argv, cwd="/", capture_output=True, text=True, errors="replace", check=False, timeout=60)
        return self._left(done.returncode, done.stdout, done.stderr)

    def ours(self, case: Case) -> Did:
        self._lay(case)
        done = ours(*self._arguments(case))
        return self._left(done.code, done.stdout, done.stderr)

    def both(self, case: Case) -> tuple[Did, Did]:
        """What logrotate does, and what maintd does, within one hour of the clock."""
        while True:
            hour = time.localtime()[:4]
            found = self.theirs(case), self.ours(case)
            if time.localtime()[:4] == hour:
                return found

    def _arguments(self, case: Case) -> list[str]:
        return [*(self._placed(option) for option in case.options), "-s", str(self.state), str(self.config)]

    def _placed(self, text: str) -> str:
        return text.replace("L/", f"{self.logs}/").replace("TRACE", str(self.trace)).replace("HERE", str(self.folder))

    def _lay(self, case: Case) -> None:
        shutil.rmtree(self.logs, ignore_errors=True)
        self.logs.mkdir(0o755)
        for path in (self.state, self.trace):
            path.unlink(missing_ok=True)
        self.trace.touch(0o666)
        self.trace.chmod(0o666)
        subprocess.run(["/bin/sh", "-ec", self._placed(case.files)], cwd=self.logs, check=True, timeout=20)
        self.config.write_bytes(os.fsencode(self._placed(case.config)))
        self.config.chmod(0o644)
        if case.state:
            now = f"{datetime.now():%Y-%-m-%-d-%-H:%-M:%-S}"
            text = case.state.replace("NOW", now).replace("OLD", "2026-1-1-1:0:0")
            self.state.write_text(f"logrotate state -- version 2\n{self._placed(text)}\n")
            self.state.chmod(0o640)

    def _left(self, code: int, stdout: str, stderr: str) -> Did:
        trace = self.trace.read_text().replace(str(self.folder), "HERE")
        return Did(code, stdout, stderr, self._tree(), self._states(), trace)

    def _tree(self) -> Tree:
        found: Tree = {}
        for path in sorted(self.logs.rglob("*")):
            info = path.lstat()
            content: bytes | str = ""
            if st.S_ISREG(info.st_mode):
                content = path.read_bytes()
                content = gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content
            elif st.S_ISLNK(info.st_mode):
                content = os.readlink(path)
            kind = st.filemode(info.st_mode)[0]
            if not path.is_symlink():
                kind += "".join(f" {name}={os.getxattr(path, name).hex()}" for name in sorted(os.listxattr(path)))
            found[str(path.relative_to(self.logs))] = (kind, info.st_mode & 0o7777, info.st_uid, info.st_gid, content)
        return found

    def _states(self) -> dict[str, str]:
        """When each log was rotated: now, at its first sight (the hour), or the time itself."""
        if not self.state.exists():
            return {}
        now = datetime.now()
        found = {}
        for name, time_ in re.findall(r'^"(.*)" (\S+)$', self.state.read_text(errors="surrogateescape"), re.MULTILINE):
            moment = datetime.strptime(time_, "%Y-%m-%d-%H:%M:%S")
            is_hour = moment == now.replace(minute=0, second=0, microsecond=0)
            is_now = abs((now - moment).total_seconds()) < 120
            found[name.replace(str(self.folder), "HERE")] = "hour" if is_hour else "now" if is_now else time_
        return found
