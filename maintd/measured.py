"""What the processes of a program take together, beside what they may."""

import time
from collections.abc import Iterator

from maintd import processes
from maintd.limits import Ceiling, Samples
from maintd.units import counted, format_size
from maintd.values import dataclass


@dataclass(frozen=True)
class Measure:
    """One thing that was measured, in words, whether it is above its limit, and that limit in words."""

    text: str
    is_above: bool
    limit: str


def taken(ceiling: Ceiling, pid: int, samples: Samples | None = None) -> Iterator[Measure]:
    """Raises PermissionError where they may not be seen. CPU is known from the second of these samples on."""
    pids = processes.tree(pid)
    if ceiling.memory is not None:
        used = processes.pss(pids)
        limit = f"{format_size(ceiling.memory)} of memory"
        yield Measure(f"{format_size(used)} of {limit}", used > ceiling.memory, limit)
    if ceiling.files is not None:
        count = processes.open_files(pids)
        limit = counted(ceiling.files, "open file")
        yield Measure(f"{count} of {limit}", count > ceiling.files, limit)
    if ceiling.cpu is not None and samples is not None:
        now, seconds = time.monotonic(), processes.cpu_seconds(pids)
        before, samples.cpu = samples.cpu, (now, seconds)
        if before is not None and now > before[0]:
            spent = sum(value - before[1].get(process, 0.0) for process, value in seconds.items())
            share = 100 * spent / (now - before[0])
            limit = f"{ceiling.cpu:g}% of a core"
            yield Measure(f"{share:.0f}% of {limit}", share > ceiling.cpu, limit)
