"""Where the demo plays: a folder with supervisord's and maintd's configuration, services, and a few old price files."""

import os
import random
import re
import shutil  # noqa: TID251 - removes this demo's own folder; maintd's disk changes are not made here
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MAINTD = ROOT / ".venv/bin/maintd"
SERVICES = {"access": 3000, "app": 2500, "worker": 2000}
"""Kinds of demo_service.py and their lines a second, a few hundred KB/s each."""
LONGEST_SOCKET = 80
PATIENCE = 60.0
"""Seconds for whatever the demo waits for: a busy machine takes its time."""

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
