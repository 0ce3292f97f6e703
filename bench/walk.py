"""Walking 300,000 files: maintd's walker in its children against `du -s` over the same tree.

`python bench/walk.py [--files 300000] [--rounds 5]`. The files lie a thousand to a directory, all in the cache of the
kernel. Timed is what a `storage` job does for the directory, the start of its two children included: at nice 19, as it
is, and at du's priority. Printed are the medians of the wall times, their ratio to du's (at most 1.5 is asked), and the
peak RSS of the largest child (less than 60 MB is asked).
"""

import argparse
import os
import statistics
import subprocess
import tempfile
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any

from maintd import measuring
from maintd.child import Worker

PER_DIRECTORY = 1000


def make(root: Path, count: int) -> None:
    for number in range(0, count, PER_DIRECTORY):
        folder = root / f"group{number // PER_DIRECTORY % 20}/day{number // PER_DIRECTORY}"
        folder.mkdir(parents=True)
        descriptor = os.open(folder, os.O_RDONLY)
        for name in range(min(PER_DIRECTORY, count - number)):
            os.close(os.open(f"prices-{name:04d}.csv", os.O_CREAT | os.O_WRONLY, 0o644, dir_fd=descriptor))
        os.close(descriptor)


class Children:
    """A child for each thread, as a run of the job has them; the largest of their peaks is noted before they end."""

    def __init__(self, *, background: bool) -> None:
        self.background = background
        self.peak = 0
        self.workers: dict[int, Worker] = {}

    def call(self, function: str, **arguments: Any) -> Any:
        worker = self.workers.setdefault(threading.get_ident(), Worker(background=self.background))
        found = worker.call(f"{measuring.__name__}:{function}", arguments)
        status = Path(f"/proc/{worker.pid}/status").read_text()
        peak = next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))
        self.peak = max(self.peak, peak)
        return found

    def measure(self, root: Path) -> float:
        """Seconds for a whole measurement."""
        start = time.perf_counter()
        with measuring.threads() as pool:
            self.files = measuring.measure(str(root), 10, self.call, pool).walked.total.files
            wall = time.perf_counter() - start
        for worker in self.workers.values():
            worker.close()
        return wall


def timed(work: Any) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="maintd-bench-") as name:
        root = Path(name).resolve()
        make(root, options.files)
        du = partial(subprocess.run, ["du", "-s", root], check=True, stdout=subprocess.DEVNULL)
        walls: dict[str, list[float]] = {"du": [], "background": [], "normal": []}
        peak = 0
        du()
        for _ in range(options.rounds):
            walls["du"].append(timed(du))
            for way, background in (("background", True), ("normal", False)):
                children = Children(background=background)
                walls[way].append(children.measure(root))
                peak = max(peak, children.peak)
                assert children.files == options.files
        reference = statistics.median(walls["du"])
        print(f"{options.files} files, median of {options.rounds} rounds: du -s {reference:.2f} s")
        for way, said in (("background", "in the background (nice 19)"), ("normal", "with du's priority")):
            wall = statistics.median(walls[way])
            print(f"  {said:<27} {wall:6.2f} s  ratio {wall / reference:.2f}")
        print(f"  peak RSS of a child {peak / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
