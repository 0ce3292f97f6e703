"""A stage for end-to-end tests: a real supervisord with real services and maintd, as a person would set it up."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conftest import until

ROOT = Path(__file__).resolve().parents[2]
MAINTD = ROOT / ".venv/bin/maintd"
SUPERVISORD = ROOT / ".venv-dev/bin/supervisord"
WRITER = Path(__file__).with_name("writer.py")
DEADLINE = 60.0


class Stage:
    """supervisord in a folder of its own, with `services` (name → arguments of writer.py) and maintd."""

    def __init__(self, folder: Path, services: dict[str, list[str]], config: str, *, user: str = "root") -> None:
        self.folder = folder
        self.logs = folder / "logs"
        self.events_file = folder / "maintd/events.log"
        self.socket = folder / "supervisor.sock"
        self.services = services
        for made in (self.logs, folder / "maintd", folder / "state"):
            made.mkdir(exist_ok=True)
        self.write_config(config)
        self.user = user
        (folder / "supervisord.conf").write_text(self._supervisord_conf())
        self.process: subprocess.Popen[bytes] | None = None

    def write_config(self, jobs: str) -> None:
        head = (
            f'[daemon]\nstate_dir = "{self.folder}/state"\nruntime_dir = "{self.folder}/run"\n'
            f'[supervisor]\nurl = "unix://{self.socket}"\n'
        )
        path = self.folder / "maintd.toml"
        temporary = path.with_suffix(".new")
        temporary.write_text(head + jobs.replace("LOGS", str(self.logs)))
        temporary.chmod(0o644)
        temporary.rename(path)

    def _supervisord_conf(self) -> str:
        conf = (
            f"[supervisord]\nlogfile={self.folder}/supervisord.log\npidfile={self.folder}/supervisord.pid\n"
            "nodaemon=true\nloglevel=info\n"
            f"[unix_http_server]\nfile={self.socket}\n"
            "[rpcinterface:supervisor]\n"
            "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
            f"[supervisorctl]\nserverurl=unix://{self.socket}\n"
        )
        for name, arguments in self.services.items():
            command = " ".join([sys.executable, str(WRITER), name, *arguments])
            conf += (
                f"[program:{name}]\ncommand={command}\nstdout_logfile={self.logs}/{name}.log\n"
                "stdout_logfile_maxbytes=0\nredirect_stderr=true\nstopwaitsecs=5\n"
            )
        return conf + self._maintd_conf()

    def _maintd_conf(self) -> str:
        """The shipped program section, with this folder's paths in place of the installed ones."""
        conf = (ROOT / "deploy/supervisord.conf.d/maintd.conf").read_text()
        conf = conf.replace("/opt/maintd/current/bin/maintd", str(MAINTD))
        conf = conf.replace("/etc/maintd/maintd.toml", f"{self.folder}/maintd.toml")
        conf = conf.replace("/var/log/maintd/", f"{self.folder}/maintd/")
        if os.geteuid() != 0:
            conf = re.sub(r"(?m)^user=.*\n", "", conf)
        return conf

    def start(self) -> None:
        self.process = subprocess.Popen(
            [SUPERVISORD, "-c", str(self.folder / "supervisord.conf")],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self.event("daemon.started")

    def stop(self) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def ctl(self, *arguments: str) -> str:
        done = subprocess.run(
            [SUPERVISORD.with_name("supervisorctl"), "-c", str(self.folder / "supervisord.conf"), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=30,
        )
        return done.stdout

    def maintd(self, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [MAINTD, "-c", str(self.folder / "maintd.toml"), *arguments],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
            **options,
        )

    def pid_of(self, program: str) -> int:
        text = self.ctl("pid", program).strip()
        return int(text) if text.isdigit() else 0

    def kill_maintd(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(until(lambda: self.pid_of("maintd"), "maintd has a pid"), number)

    def events(self, name: str | None = None) -> list[dict[str, Any]]:
        """Everything maintd has said so far, also in what was rotated away."""
        found = []
        for path in sorted(self.events_file.parent.glob("events.log*")):
            if path.suffix in (".zst", ".gz"):
                continue
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(json.JSONDecodeError):
                    found.append(json.loads(line))
        return [event for event in found if name is None or event["event"] == name]

    def event(self, name: str, count: int = 1, deadline: float = DEADLINE, **fields: Any) -> dict[str, Any]:
        """Waits for the count-th event of that name with these fields, and returns it."""

        def found() -> list[dict[str, Any]]:
            matching = [
                event for event in self.events(name) if all(event.get(key) == value for key, value in fields.items())
            ]
            return matching if len(matching) >= count else []

        try:
            return until(found, f"{count} of {name} {fields}", deadline)[count - 1]
        except AssertionError as error:
            last = "\n".join(json.dumps(event) for event in self.events()[-15:])
            stderr = self.folder / "maintd/stderr.log"
            raise AssertionError(f"{error}\n{last}\n{stderr.read_text() if stderr.exists() else ''}") from None


def archives(log: Path) -> Iterator[Path]:
    """What was set aside of a log, oldest first."""
    return iter(sorted(log.parent.glob(log.name + ".[0-9]*"), key=_order))


def _order(path: Path) -> tuple[str, int]:
    match = re.search(r"\.(\d{8}T\d{6}Z)(?:-(\d+))?", path.name)
    assert match
    return match[1], int(match[2] or 0)


def lines_of(log: Path) -> list[bytes]:
    """Every line of a log in order: archives, compressed or not, then the live file."""
    content = b""
    for path in archives(log):
        content += decompressed(path)
    if log.exists():
        content += log.read_bytes()
    return content.splitlines(keepends=True)


def decompressed(path: Path) -> bytes:
    from backports import zstd
    from zlib_ng import gzip_ng

    if path.suffix == ".zst":
        with zstd.open(path) as file:
            return file.read()
    if path.suffix == ".gz":
        with gzip_ng.open(path) as file:
            return file.read()
    return path.read_bytes()
