"""Runs maintd for real in ./.run: a real supervisord, three services that log fast, and maintd keeping them in order.

`demo.py [--seconds N] [--folder DIR]`: its events are shown as they come, until N seconds are over or Ctrl-C; then what
was rotated, compressed and freed. Every line that the services wrote is looked for. Exit code 0 only if all are there.
"""

import argparse
import contextlib
import json
import os
import random
import re
import shutil  # noqa: TID251 - removes this demo's own folder; maintd's disk changes are not made here
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from demo_account import Account, Follower, parsed

ROOT = Path(__file__).resolve().parents[1]
MAINTD = ROOT / ".venv/bin/maintd"
SUPERVISORD = ROOT / ".venv-dev/bin/supervisord"
SERVICES = {"access": 3000, "app": 2500, "worker": 2000}
"""Kinds of demo_service.py and their lines a second, a few hundred KB/s each."""
LONGEST_SOCKET = 80
PATIENCE = 20.0

MAINTD_TOML = """\
[daemon]
state_dir = "{folder}/state"
runtime_dir = "{sockets}/run"
[supervisor]
url = "unix://{sockets}/supervisor.sock"

[rotate.services]
paths = ["{folder}/logs/*.log"]
max_size = "1M"
keep = 3

[rotate.maintd]
paths = ["{folder}/maintd/events.log"]
max_size = "16K"

[compress.prices]
paths = ["{folder}/prices/*.csv"]
older_than = "30d"
every = "3s"
"""

SUPERVISORD_CONF = """\
[supervisord]
logfile={folder}/supervisord.log
pidfile={folder}/supervisord.pid
nodaemon=true
[unix_http_server]
file={sockets}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{sockets}/supervisor.sock
"""

PROGRAM = """\
[program:{name}]
command={python} {script} {name} {rate} {folder}/written/{name}
stdout_logfile={folder}/logs/{name}.log
stdout_logfile_maxbytes=0
redirect_stderr=true
"""


@dataclass(frozen=True, slots=True)
class Stage:
    """Where the demo plays; `sockets` is a folder of its own only if the path of `folder` is too long for sockets."""

    folder: Path
    sockets: Path

    @property
    def conf(self) -> Path:
        return self.folder / "supervisord.conf"

    @property
    def toml(self) -> Path:
        return self.folder / "maintd.toml"

    @property
    def logs(self) -> Path:
        return self.folder / "logs"

    @property
    def events(self) -> Path:
        return self.folder / "maintd/events.log"


def set_up(folder: Path) -> Stage:
    """Makes the folder afresh, with everything that the demo needs in it."""
    end_earlier(folder)
    if folder.exists():
        if any(folder.iterdir()) and not (folder / "written").is_dir():
            raise SystemExit(f"{folder} is not empty and no earlier demo's: it is left alone")
        shutil.rmtree(folder)
    for part in ("logs", "maintd", "prices", "written"):
        (folder / part).mkdir(parents=True)
    is_short = len(os.fsencode(folder)) <= LONGEST_SOCKET
    stage = Stage(folder, folder if is_short else Path(tempfile.mkdtemp(prefix="maintd-demo-")))
    stage.toml.write_text(MAINTD_TOML.format(folder=folder, sockets=stage.sockets))
    stage.toml.chmod(0o644)
    stage.conf.write_text(SUPERVISORD_CONF.format(folder=folder, sockets=stage.sockets) + "".join(programs(folder)))
    old_prices(folder / "prices", datetime.now(UTC) - timedelta(days=45))
    return stage


def end_earlier(folder: Path) -> None:
    """Ends the supervisord of a demo in this folder that was killed and could not end it."""
    try:
        pid = int((folder / "supervisord.pid").read_text())
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
    except (OSError, ValueError):
        return
    if os.fsencode(folder / "supervisord.conf") in command.split(b"\0"):
        os.kill(pid, signal.SIGTERM)
        until(lambda: not Path(f"/proc/{pid}").exists(), PATIENCE)


def programs(folder: Path) -> Iterator[str]:
    """The services, and the section for maintd as it is shipped, with this folder's paths for the installed ones."""
    script = Path(__file__).with_name("demo_service.py")
    for name, rate in SERVICES.items():
        yield PROGRAM.format(name=name, python=sys.executable, script=script, rate=rate, folder=folder)
    shipped = (ROOT / "deploy/supervisord.conf.d/maintd.conf").read_text()
    shipped = shipped.replace("/opt/maintd/current/bin/maintd", str(MAINTD))
    shipped = shipped.replace("/etc/maintd/maintd.toml", f"{folder}/maintd.toml")
    shipped = shipped.replace("/var/log/maintd/", f"{folder}/maintd/")
    yield f"[group:services]\nprograms={','.join(SERVICES)}\n"
    yield shipped if os.geteuid() == 0 else re.sub(r"(?m)^user=.*\n", "", shipped)


def old_prices(folder: Path, newest: datetime) -> None:
    """A few files of price history, last changed 45 days ago and before."""
    dice = random.Random(7)  # noqa: S311 - invented prices, no secret
    for days in range(4):
        day = newest - timedelta(days=days)
        price, rows = 100.0, ["time,symbol,bid,ask,volume"]
        for second in range(0, 86_400, 4):
            price += dice.gauss(0, 0.02)
            rows.append(f"{timedelta(seconds=second)},ACME,{price:.3f},{price + 0.01:.3f},{dice.randrange(900)}")
        path = folder / f"{day:%Y-%m-%d}.csv"
        path.write_text("\n".join(rows) + "\n")
        os.utime(path, (day.timestamp(), day.timestamp()))


def until(condition: Callable[[], object], patience: float) -> bool:
    """Whether the condition came true within so many seconds."""
    end = time.monotonic() + patience
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Show:
    """The demo while it runs: supervisord, the viewer of its events, and the account that is kept of them."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.account = Account()
        self.asked_to_end = False
        signal.signal(signal.SIGINT, self.ask_to_end)
        signal.signal(signal.SIGTERM, self.ask_to_end)
        self.supervisord = self._started()
        self.viewer: subprocess.Popen[bytes] | None = None
        self.follower: Follower | None = None

    def _started(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [SUPERVISORD, "-c", self.stage.conf],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the demo, which then ends all the rest in order
        )

    def ask_to_end(self, *_: object) -> None:
        self.asked_to_end = True

    def play(self, seconds: float) -> None:
        """Shows the events for so long, 0 for as long as nobody ends it."""
        if not until(lambda: self.stage.events.exists() and self.stage.events.stat().st_size, PATIENCE):
            self.account.failures.append(f"maintd did not start: {self._last_words()}")
            return
        self.follower = Follower(self.stage.events)
        self.viewer = subprocess.Popen(
            [MAINTD, "-c", self.stage.toml, "events", "-f", self.stage.events],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        end = time.monotonic() + seconds if seconds else float("inf")
        while time.monotonic() < end and not self.asked_to_end and self.supervisord.poll() is None:
            self.listen()
            time.sleep(0.1)

    def listen(self) -> None:
        if self.follower:
            for event in parsed(self.follower.lines()):
                self.account.take(event, self.stage.logs)

    def end(self) -> None:
        """Stops the services, lets maintd finish what it has set aside, and stops the rest, each by its pid."""
        self.ctl("stop", "services:*")
        until(self._is_settled, PATIENCE)
        self.supervisord.terminate()
        try:
            self.supervisord.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.supervisord.kill()
            self.supervisord.wait()
            self.account.failures.append("supervisord did not end")
        self.listen()
        if self.viewer:
            self._end_viewer(self.viewer)
        if self.stage.sockets != self.stage.folder:
            shutil.rmtree(self.stage.sockets)

    def _end_viewer(self, viewer: "subprocess.Popen[bytes]") -> None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            status = viewer.wait(0.5)  # for it to show the last events
            self.account.failures.append(f"maintd events ended early, with exit code {status}")
        viewer.terminate()
        viewer.wait()

    def _is_settled(self) -> bool:
        self.listen()
        return self.supervisord.poll() is not None or not (self.account.waiting or self._jobs_at_work())

    def _jobs_at_work(self) -> list[str]:
        """The jobs that would be cut off now; none also if maintd does not answer."""
        command = [str(MAINTD), "-c", str(self.stage.toml), "status", "--json"]
        done = subprocess.run(command, capture_output=True, start_new_session=True, timeout=60, check=False)
        jobs = json.loads(done.stdout)["jobs"] if done.stdout else []
        return [job["name"] for job in jobs if job["state"] in ("running", "queued")]

    def ctl(self, *arguments: str) -> None:
        command = [str(SUPERVISORD.with_name("supervisorctl")), "-c", str(self.stage.conf), *arguments]
        subprocess.run(command, stdout=subprocess.DEVNULL, start_new_session=True, timeout=60, check=False)

    def _last_words(self) -> str:
        for file in ("maintd/stderr.log", "supervisord.log"):
            with contextlib.suppress(OSError):
                words = (self.stage.folder / file).read_text(errors="replace").strip()
                if words:
                    return words[-600:]
        return "it said nothing"


def lines_balance(stage: Stage, account: Account) -> tuple[str, list[str]]:
    """The lines that the services say they wrote against those that are found, and what is wrong."""
    account.count_the_rest(stage.logs)
    written = found = 0
    faults: list[str] = []
    for name in SERVICES:
        try:
            said = int((stage.folder / "written" / name).read_text())
        except FileNotFoundError:
            faults.append(f"{name} did not say how many lines it wrote")
            continue
        counted, wrong = account.found(stage.logs / f"{name}.log")
        written, found = written + said, found + counted
        faults += wrong
        if counted != said:
            faults.append(f"{name} wrote {said} lines, of which {counted} were found")
    return f"{written:,} written, {found:,} found in archives and live logs, {written - found:,} lost", faults


def report(show: Show, took: float) -> int:
    """Prints what was done, and returns the exit code."""
    account = show.account
    balance, faults = lines_balance(show.stage, account)
    if not account.stopped:
        faults.append("maintd did not stop in order")
    print(f"\nIn {took:.0f} seconds, as maintd's events say:")
    for line in account.summary():
        print(f"  {line}")
    print(f"and as counted, line by line, with their numbers:\n  lines       {balance}")
    for failure in (*account.failures, *faults):
        print(f"  FAILED: {failure}")
    print(f"Everything is still there to look at: {show.stage.folder}")
    return 1 if account.failures or faults else 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Runs maintd for real, with three services under supervisord.")
    parser.add_argument("--seconds", type=float, default=0, help="end after so long; 0: at Ctrl-C")
    parser.add_argument("--folder", type=Path, default=ROOT / ".run", help="made afresh; default: .run")
    arguments = parser.parse_args()
    stage = set_up(arguments.folder.resolve())
    ends = f"for {arguments.seconds:.0f} seconds" if arguments.seconds else "until Ctrl-C"
    print(
        f"supervisord, maintd and {len(SERVICES)} services run in {stage.folder} {ends}; these are maintd's events:\n"
    )
    sys.stdout.flush()
    begun = time.monotonic()
    show = Show(stage)
    try:
        show.play(arguments.seconds)
    finally:
        show.end()
    return report(show, time.monotonic() - begun)


if __name__ == "__main__":
    sys.exit(main())
