"""How soon maintd answers: `check`, `--version`, a reload among 1,000 jobs, the start with 10,000 watched files.

`python bench/startup.py [--rounds 7]` prints medians of wall times, whole processes as a person would wait for them,
beside a bare `python -c pass` of the same environment; then the CPU and the bound that `status` shows for 10,000 files.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from tests.conftest import until  # noqa: E402 - what the tests wait by serves here too

MAINTD, PYTHON = ROOT / ".venv/bin/maintd", ROOT / ".venv/bin/python"
SAMPLE = ROOT / "config/maintd.toml"
JOBS, FILES = 1_000, 10_000
FIRST = """
[rotate.services]
paths = ["/srv/app/logs/*.log"]
cron = "0 0 * * *"
max_size = "10M"
keep = 7
reopen = "auto"

[compress.prices]
paths = ["/srv/app/prices/**/*.csv"]
cron = "30 3 * * *"
older_than = "30d"
"""


os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed maintd has its bytecode, so the first run may write it


def wall(command: list[str], rounds: int) -> float:
    """The median of so many runs after one that is not counted, in milliseconds."""
    times = []
    for _ in range(rounds + 1):
        start = time.perf_counter()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times[1:])


class Resident:
    """A daemon by itself, with its events in a file."""

    def __init__(self, folder: Path, jobs: str) -> None:
        self.config, self.events_file = folder / "maintd.toml", folder / "events.log"
        self.head = f'[daemon]\nstate_dir = "{folder}/state"\nruntime_dir = "{folder}/run"\n'
        self.write(jobs)
        with self.events_file.open("wb") as events:
            self.process = subprocess.Popen([MAINTD, "-c", self.config, "run"], stdout=events)

    def write(self, jobs: str) -> None:
        self.config.write_text(self.head + jobs)
        self.config.chmod(0o644)

    def has(self, name: str) -> bool:
        return f'"event":"{name}"' in self.events_file.read_text()

    def ask(self, *arguments: str) -> str:
        done = subprocess.run([MAINTD, "-c", self.config, *arguments], check=True, capture_output=True, text=True)
        return done.stdout

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def reloading(folder: Path) -> None:
    job = '[rotate.job{0}]\npaths = ["{1}/job{0}/*.log"]\ncron = "0 0 * * *"\nmax_size = "10M"\nkeep = 7\n'
    jobs = [job.format(number, folder) for number in range(JOBS)]
    daemon = Resident(folder, "".join(jobs))
    try:
        until(lambda: daemon.has("daemon.started"), "the daemon has started")
        daemon.ask("status")
        jobs[JOBS // 2] = jobs[JOBS // 2].replace("10M", "20M")
        daemon.write("".join(jobs))
        start = time.perf_counter()
        said = daemon.ask("reload").split("\n")[0]
        print(f"reload of {JOBS} jobs, one changed: {(time.perf_counter() - start) * 1000:.0f} ms ({said})")
    finally:
        daemon.stop()


def starting(folder: Path) -> None:
    for number in range(FILES):
        path = folder / f"logs/d{number % 100:02d}/{number}.log"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    start = time.perf_counter()
    daemon = Resident(folder, f'[rotate.all]\npaths = ["{folder}/logs/*/*.log"]\nmax_size = "10M"\nkeep = 7\n')

    def status() -> dict[str, object]:
        done = subprocess.run(
            [MAINTD, "-c", daemon.config, "status", "--json"], check=False, capture_output=True, text=True
        )
        return json.loads(done.stdout)["growth"] if done.returncode == 0 else {}

    try:
        until(lambda: daemon.has("daemon.started"), "the daemon has started")
        until(lambda: status().get("files") == FILES, "all files are watched")
        print(
            f"start with {FILES} files: {time.perf_counter() - start:.2f} s until all are watched (the asking included)"
        )
        time.sleep(20)
        before = psutil.Process(daemon.process.pid).cpu_times()
        time.sleep(20)
        after = psutil.Process(daemon.process.pid).cpu_times()
        share = (after.user + after.system - before.user - before.system) / 20
        print(f"afterwards: {share:.2%} of a core, bound {status()['bound_ms']} ms")
    finally:
        daemon.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    bare = wall([str(PYTHON), "-c", "pass"], options.rounds)
    print(f"bare python: {bare:.0f} ms")
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        first = Path(name, "maintd.toml")
        first.write_text(FIRST)
        first.chmod(0o644)
        asked = {
            "--version": ["--version"],
            "check, rotate and compress": ["-c", str(first), "check"],
            "check, the sample config with twenty kinds": ["-c", str(SAMPLE), "check"],
        }
        for what, arguments in asked.items():
            took = wall([str(MAINTD), *arguments], options.rounds)
            print(f"maintd {what}: {took:.0f} ms, {took / bare:.1f} times a bare python")
    for measure in (reloading, starting):
        with tempfile.TemporaryDirectory(prefix="maintd-") as name:
            measure(Path(name))


if __name__ == "__main__":
    main()
