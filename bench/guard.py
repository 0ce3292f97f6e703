"""What a guard costs while there is room: a daemon with ten of them beside one without.

`python bench/guard.py [--seconds 30]`. Printed are the CPU of both daemons, as shares of a core; what one look costs by
itself, once a second, as a share of a core (less than 0.1 % is asked); and its ratio to a bare statvfs(2).
"""

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from daemon import cpu_of, stage

from maintd.floors import Floors
from maintd.room import Floor, Portion

GUARDS, LOOKS = 10, 20_000


def idle(seconds: float, guards: int) -> float:
    """The share of a core that a daemon takes with so many guards."""
    job = '[guard.g{0}]\ndirectory = "LOGS"\nmin_free = "1M"\n'
    jobs = '[rotate.a]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n' + "".join(map(job.format, range(guards)))
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        made = stage(Path(name), 0, jobs)
        try:
            made.start()
            time.sleep(3)
            return cpu_of(made.pid_of("maintd"), seconds)
        finally:
            made.stop()


def each(work: Callable[[], object]) -> float:
    """Seconds of CPU for one of many."""
    begun = time.process_time()
    for _ in range(LOOKS):
        work()
    return (time.process_time() - begun) / LOOKS


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    floors = Floors(lambda event, job: print(job, event.msg), lambda _job, _mount: None)
    floors.set("guard.disk", Floor("/", Portion(1.0, is_percent=False), None, None))
    look, call = each(lambda: list(floors.look())), each(lambda: os.statvfs("/"))
    print(f"a look: {look * 1e6:.1f} µs, {look:.5%} of a core at one a second, {look / call:.1f} times a statvfs(2)")
    without, with_guards = idle(options.seconds, 0), idle(options.seconds, GUARDS)
    print(f"a daemon without guards: {without:.2%} of a core; with {GUARDS} of them: {with_guards:.2%}")


if __name__ == "__main__":
    main()
