"""The resident daemon under a real supervisord: how soon it rotates, and what it costs.

`python bench/daemon.py [--seconds 20]` prints, from one run each:
(a) size passed → renamed and the writer told, p50 and p99: 12 services of supervisord write 5,000 lines/s each, 60,000
    in all; from the time that the line which passes max_size carries to the time of the event writer.told
(b) the daemon's own CPU (children apart) with these writers while it rotates, and while nothing passes max_size
(c) the RSS of the resident process after as many runs as 20 jobs make in an hour, one every four minutes each
(d) the CPU of the idle daemon with 20 jobs
"""

import argparse
import statistics
import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.end_to_end.stage import Stage, decompressed  # noqa: E402 - the stage of the tests serves here too

SERVICES, RATE, MAX_SIZE = 12, 5_000, 1 << 20
IDLE_JOBS, TURNS = 20, 15
NEVER = "900G"


def cpu_of(pid: int, seconds: float) -> float:
    """The CPU time of a process alone over a while, as a share of one core."""
    process = psutil.Process(pid)
    before, begun = process.cpu_times(), time.monotonic()
    time.sleep(seconds)
    after = process.cpu_times()
    return (after.user + after.system - before.user - before.system) / (time.monotonic() - begun)


def stage(folder: Path, services: int, jobs: str) -> Stage:
    (folder / "stage").mkdir()
    writers = {f"service{number:02d}": [str(RATE), "stamped"] for number in range(services)}
    return Stage(folder / "stage", writers, jobs)


def rotating(seconds: float) -> None:
    """(a) and the first half of (b)."""
    job = f'[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = {MAX_SIZE}\nkeep = 10000\n'
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        made = stage(Path(name), SERVICES, job)
        try:
            made.start()
            busy = cpu_of(made.pid_of("maintd"), seconds)
            made.ctl("stop", "all")
            waits = sorted(latencies(made))
        finally:
            made.stop()
    p99 = waits[min(len(waits) - 1, int(len(waits) * 0.99))]
    print(f"(a) size passed → rotated and told: p50 {statistics.median(waits):.0f} ms, p99 {p99:.0f} ms, "
          f"longest {waits[-1]:.0f} ms, {len(waits)} rotations")  # fmt: skip
    pace = len(waits) / seconds
    print(f"(b) CPU of the daemon, children apart: {busy:.2%} of a core while it rotates {pace:.1f} logs a second")


def latencies(made: Stage) -> list[float]:
    """Milliseconds from the line that passed max_size to the telling of its writer, for each rotation by size."""
    told = {event["run"]: event["ts"] for event in made.events("writer.told")}
    found = []
    for event in made.events("log.rotated"):
        if event["run"] not in told:
            continue
        archive = Path(event["rotated_to"])
        content = decompressed(archive if archive.exists() else Path(f"{archive}.zst"))
        line = content[MAX_SIZE:].split(b"\n", 2)[1] if content[MAX_SIZE:].count(b"\n") > 1 else b""
        if line:
            wrote = float(line.split()[2])
            found.append((datetime.fromisoformat(told[event["run"]]).timestamp() - wrote) * 1000)
    return found


def watching(seconds: float) -> None:
    """The second half of (b)."""
    job = f'[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "{NEVER}"\n'
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        made = stage(Path(name), SERVICES, job)
        try:
            made.start()
            print(f"    and {cpu_of(made.pid_of('maintd'), seconds):.2%} while nothing passes max_size")
        finally:
            made.stop()


def resident(seconds: float) -> None:
    """(c) and (d): 20 jobs of both kinds; an hour's worth of runs is asked for, one after the other."""
    jobs = "".join(
        f'[rotate.job{number}]\npaths = ["LOGS/job{number}-*.log"]\ncron = "0 0 * * *"\n'
        f'max_size = "{NEVER}"\nkeep = 5\n'
        for number in range(IDLE_JOBS - 1)
    )
    jobs += '[compress.old]\npaths = ["LOGS/*.csv"]\ncron = "0 1 * * *"\nolder_than = "30d"\n'
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        made = stage(Path(name), 0, jobs)
        try:
            made.start()
            pid = made.pid_of("maintd")
            at_start = psutil.Process(pid).memory_info().rss
            for turn in range(TURNS):
                for number in range(IDLE_JOBS - 1):
                    (made.logs / f"job{number}-a.log").write_text(f"line {turn}\n" * 200)
                made.maintd("do", "--all")
            after = psutil.Process(pid).memory_info().rss
            runs = len(made.events("job.finished"))
            print(f"(c) RSS: {at_start / 1e6:.1f} MB at start, {after / 1e6:.1f} MB after {runs} runs")
            print(f"(d) CPU idle with {IDLE_JOBS} jobs: {cpu_of(pid, seconds):.2%} of a core")
        finally:
            made.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each figure is measured")
    options = parser.parse_args()
    rotating(3 * options.seconds)  # a p99 wants a few hundred of them
    watching(options.seconds)
    resident(options.seconds)


if __name__ == "__main__":
    main()
