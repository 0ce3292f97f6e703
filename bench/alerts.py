"""How soon a crash is alerted, beside monit; what following supervisord's programs costs; and a storm of crashes.

`python bench/alerts.py [--kills 10] [--seconds 60]` prints:
(a) programs of supervisord that are killed one by one: the time from kill -9 to the command of the alert, for maintd
    with group = "0ms" and for monit that looks every 5 s (as often as people have it look; Debian's default is 120 s)
(b) the daemon's CPU while it follows 12 programs of a supervisord and does nothing else, and that of supervisord for it
(c) programs that crash again and again for a while: how many crashes were told as events, and how many messages came
"""

import argparse
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.conftest import until  # noqa: E402
from tests.end_to_end.daemon import Daemon  # noqa: E402
from tests.supervised.supervisord import Supervisord  # noqa: E402

TOLD = "#!/bin/sh\ndate +%s.%N >> {0}.new && mv {0}.new {0}\n"
SILENT = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
IDLE = ("idle", "startsecs=0\nautorestart=false")


@contextmanager
def stage(config: str, programs: dict[str, tuple[str, str]]) -> Iterator[tuple[Daemon, Supervisord]]:
    """supervisord with these programs, and a daemon whose alerts run HERE/ours."""
    with tempfile.TemporaryDirectory(prefix="maintd-", ignore_cleanup_errors=True) as name:
        folder = Path(name).resolve()
        for who in ("ours", "theirs"):
            script = folder / who
            script.write_text(TOLD.format(folder / f"{who}.told"))
            script.chmod(0o755)
        one, real = Daemon(folder, config), Supervisord(folder, programs)
        real.start()
        one.start()
        try:
            yield one, real
        finally:
            one.end()
            real.stop()


def told_at(path: Path) -> float:
    """When the command of an alert ran; it is removed for the next one."""
    until(path.exists, "the alert", 200)
    at = float(path.read_text().split()[0])
    path.unlink()
    return at


def to_the_alert(kills: int) -> None:
    """(a)"""
    monit = shutil.which("monit")
    names = [f"a{number}" for number in range(kills)]
    config = '[alerts]\ngroup = "0ms"\nmost = 1000\n[alerts.channels.a]\ncommand = ["HERE/ours"]\n'
    config += "[cascade]\nprograms = 99\n"
    with stage(config, dict.fromkeys(names, IDLE)) as (one, real):
        folder, peer = one.tree.folder, None
        pids = {name: until(lambda name=name: real.pid(name), "it runs", 30) for name in names}
        if monit:
            text = f"set daemon 5\nset idfile {folder}/id\nset statefile {folder}/monit.state\n"
            text += f"set pidfile {folder}/m.pid\n"
            text += f"set log {folder}/monit.log\n"
            for name, pid in pids.items():
                (folder / f"{name}.pid").write_text(f"{pid}\n")
                text += f"check process {name} with pidfile {folder}/{name}.pid\n"
                text += f"  if not exist then exec {folder}/theirs\n"
            (folder / "monitrc").write_text(text)
            (folder / "monitrc").chmod(0o600)
            peer = subprocess.Popen([monit, "-I", "-c", folder / "monitrc"], **SILENT)
        time.sleep(8)
        ours, theirs = [], []
        for number, pid in enumerate(pids.values()):
            time.sleep(0.37 * (number % 5))  # so that monit's rhythm does not matter
            at = time.time()
            os.kill(pid, signal.SIGKILL)
            ours.append(told_at(folder / "ours.told") - at)
            if peer:
                theirs.append(told_at(folder / "theirs.told") - at)
        if peer:
            peer.terminate()
            peer.wait(20)
    print(f"(a) kill to alert, {kills} kills: maintd {_spread(ours)}" + (f"; monit {_spread(theirs)}" * bool(theirs)))
    if theirs:
        print(f"    medians: maintd takes {statistics.median(ours) / statistics.median(theirs):.3f} of monit's time")


def _spread(values: list[float]) -> str:
    return f"median {statistics.median(values):.2f} s, most {max(values):.2f} s" if values else ""


def following(seconds: float) -> None:
    """(b)"""
    with stage("[cascade]\n", {f"a{number}": IDLE for number in range(12)}) as (one, real):
        assert one.process
        assert real.process
        processes = [psutil.Process(one.process.pid), psutil.Process(real.process.pid)]
        time.sleep(10)
        before = [sum(process.cpu_times()[:2]) for process in processes]
        time.sleep(seconds)
        cpu = [(sum(p.cpu_times()[:2]) - then) / seconds for p, then in zip(processes, before, strict=True)]
    print(f"(b) following 12 programs: maintd {cpu[0]:.2%} of a core, supervisord {cpu[1]:.2%}")


def storm(seconds: float) -> None:
    """(c)"""
    config = '[alerts]\ngroup = "1s"\nremind = "1s"\nmost = 5\n[alerts.channels.a]\ncommand = ["/bin/true"]\n'
    loop = ("crash gone 1", "startsecs=0\nautorestart=true")
    with stage(config + '[cascade]\nprograms = 99\ncalm = "1s"\n', dict.fromkeys("abcd", loop)) as (one, _):
        time.sleep(seconds)
        crashes, sent = len(one.events("program.crashed")), len(one.events("alert.sent"))
    print(f"(c) {seconds:.0f} s of 4 programs that crash at once: {crashes} crashes told, {sent} messages (most = 5)")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10, help="how many programs are killed in (a)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long (b) and (c) are measured")
    options = parser.parse_args()
    to_the_alert(options.kills)
    following(options.seconds)
    storm(options.seconds)


if __name__ == "__main__":
    main()
