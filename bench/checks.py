"""What checks cost, and whether they are on time, with twelve that hang; and beside monit with the same fifty.

`python bench/checks.py [--seconds 360]` prints:
(a) 200 checks (http, tcp, file, disk, memory) looked at once a second each: the daemon's own CPU for each look, which
    gives its share of a core with every = "10s"; its RSS at first and at the end. 360 rounds are an hour's worth
(b) 12 checks whose server never answers, beside 100 others: how late the others were, p50 and p99
(c) the daemon and monit with the same 50 checks (process, file, disk, http), once a second each, at the same time: CPU
    and RSS of both, and maintd's share of monit's
"""

import argparse
import shutil
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
from tests.checks.servers import Server, server  # noqa: E402 - the servers of the tests serve here too
from tests.conftest import until  # noqa: E402
from tests.end_to_end.daemon import Daemon  # noqa: E402
from tests.end_to_end.stage import SUPERVISORD  # noqa: E402

RHYTHM = 'every = "1s"\ntimeout = "900ms"\n'
SETTLING = 15
"""Seconds until caches are warm and the threads of the start have ended."""


@contextmanager
def running(jobs: str) -> Iterator[Daemon]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        one = Daemon(Path(folder), jobs)
        one.start()
        try:
            yield one
        finally:
            one.end()


def used(pid: int) -> tuple[float, int]:
    """CPU seconds and RSS (bytes) of a process, children apart."""
    process = psutil.Process(pid)
    times = process.cpu_times()
    return times.user + times.system, process.memory_info().rss


def two_hundred(web: Server) -> Iterator[str]:
    for number in range(100):
        yield f'[check.http.a{number}]\nurl = "{web.url}/{number}"\n{RHYTHM}'
        if number < 40:
            yield f'[check.file.a{number}]\npaths = ["{__file__}"]\n{RHYTHM}'
            yield f"[check.tcp.a{number}]\nport = {web.port}\n{RHYTHM}"
        if number < 10:
            yield f"[check.disk.a{number}]\n{RHYTHM}[check.memory.a{number}]\n{RHYTHM}"


def cost(seconds: float) -> None:
    """(a)"""
    with server() as web, running("".join(two_hundred(web))) as one:
        assert one.process
        time.sleep(SETTLING)
        cpu, rss = used(one.process.pid)
        looks, begun = sum(map(len, web.asked.values())), time.monotonic()
        time.sleep(seconds)
        after, grown = used(one.process.pid)
        rate = 2 * (sum(map(len, web.asked.values())) - looks) / (time.monotonic() - begun)
        each = (after - cpu) / (rate * (time.monotonic() - begun))
    print(
        f"(a) {rate:.0f} looks a second: {each * 1000:.2f} ms of CPU each, so 200 checks every 10 s take "
        f"{each * 20:.2%} of a core; RSS {rss / 1e6:.1f} MB, {(grown - rss) / 1e6:+.1f} MB after {seconds:.0f} rounds"
    )


def lateness(seconds: float) -> None:
    """(b)"""
    with server() as web:
        jobs = "".join(f'[check.http.hung{number}]\nurl = "{web.url}/hang"\n{RHYTHM}' for number in range(12))
        jobs += "".join(f'[check.http.a{number}]\nurl = "{web.url}/{number}"\n{RHYTHM}' for number in range(100))
        with running(jobs):
            time.sleep(SETTLING)
            begun = time.monotonic()
            time.sleep(seconds)
            late = []
            for number in range(100):
                times = [at for at in web.asked[f"/{number}"] if at >= begun]
                phase = min((at - begun) % 1.0 for at in times)
                late += [((at - begun) % 1.0 - phase) * 1000 for at in times]
    late.sort()
    p99 = late[int(len(late) * 0.99)]
    print(f"(b) beside 12 that hang: p50 {statistics.median(late):.0f} ms, p99 {p99:.0f} ms late, of {len(late)} looks")


@contextmanager
def supervised(folder: Path, count: int) -> Iterator[list[int]]:
    """supervisord with so many programs; yields their pids."""
    conf = folder / "supervisord.conf"
    text = (
        f"[supervisord]\nlogfile={folder}/s.log\npidfile={folder}/s.pid\nnodaemon=true\nchildlogdir={folder}\n"
        f"[unix_http_server]\nfile={folder}/supervisor.sock\n[rpcinterface:supervisor]\n"
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface\n"
        f"[supervisorctl]\nserverurl=unix://{folder}/supervisor.sock\n"
    )
    text += "".join(f"[program:a{number}]\ncommand=/bin/sleep 9999\nstartsecs=0\n" for number in range(count))
    conf.write_text(text)
    process = subprocess.Popen([SUPERVISORD, "-c", conf], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def pids() -> list[int]:
        asked = [SUPERVISORD.with_name("supervisorctl"), "-c", conf, "pid", "all"]
        out = subprocess.run(asked, check=False, capture_output=True, text=True).stdout.split()
        found = [int(word) for word in out if word.isdigit() and word != "0"]
        return found if len(found) == count else []

    try:
        yield until(pids, "the programs run", 30)
    finally:
        process.terminate()
        process.wait(20)


def beside_monit(seconds: float) -> None:
    """(c)"""
    monit = shutil.which("monit")
    if monit is None:
        print("(c) monit is missing: apt-get install monit")
        return
    with server() as web, tempfile.TemporaryDirectory(prefix="maintd-") as name, supervised(Path(name), 10) as pids:
        folder = Path(name)
        ours, theirs = "", f"set daemon 1\nset idfile {folder}/id\nset statefile {folder}/state-of-monit\n"
        theirs += f"set pidfile {folder}/monit.pid\nset log {folder}/monit.log\n"
        for number, pid in enumerate(pids):
            (folder / f"{number}.pid").write_text(f"{pid}\n")
            ours += f'[check.process.a{number}]\nprogram = "a{number}"\n{RHYTHM}'
            theirs += f"check process p{number} with pidfile {folder}/{number}.pid\n"
        for number in range(20):
            ours += f'[check.file.a{number}]\npaths = ["{__file__}"]\ndegraded_size = "1G"\n{RHYTHM}'
            theirs += f"check file f{number} with path {__file__}\n  if size > 1 GB then alert\n"
        for number in range(5):
            ours += f'[check.disk.a{number}]\npath = "/"\n{RHYTHM}'
            theirs += f"check filesystem d{number} with path /\n  if space usage > 99% then alert\n"
        for number in range(15):
            ours += f'[check.http.a{number}]\nurl = "{web.url}/{number}"\n{RHYTHM}'
            theirs += f"check host h{number} with address 127.0.0.1\n"
            theirs += f"  if failed port {web.port} protocol http request /{number} then alert\n"
        (folder / "monitrc").write_text(theirs)
        (folder / "monitrc").chmod(0o600)
        peer = subprocess.Popen([monit, "-I", "-c", folder / "monitrc"], stdout=subprocess.DEVNULL)
        try:
            with running(ours) as one:
                text = one.tree.config.read_text()
                one.end()
                one.tree.config.write_text(
                    text.replace(f"{one.tree.folder}/supervisor.sock", f"{folder}/supervisor.sock")
                )
                one.start()
                assert one.process
                time.sleep(SETTLING)
                before = [used(pid)[0] for pid in (one.process.pid, peer.pid)]
                time.sleep(seconds)
                after = [used(pid) for pid in (one.process.pid, peer.pid)]
        finally:
            peer.terminate()
            peer.wait(20)
    cpu = [(now[0] - then) / seconds for now, then in zip(after, before, strict=True)]
    rss = [now[1] / 1e6 for now in after]
    print(
        f"(c) 50 checks a second: CPU {cpu[0]:.1%} of a core, monit {cpu[1]:.1%} "
        f"(ratio {cpu[0] / max(cpu[1], 1e-9):.1f}); "
        f"RSS {rss[0]:.1f} MB, monit {rss[1]:.1f} MB (ratio {rss[0] / rss[1]:.1f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--seconds", type=float, default=360.0, help="how long (a) is measured; (b) and (c) a tenth of it"
    )
    options = parser.parse_args()
    cost(options.seconds)
    lateness(max(options.seconds / 10, 10))
    beside_monit(max(options.seconds / 10, 10))


if __name__ == "__main__":
    main()
