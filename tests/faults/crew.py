"""Works through many trials, a few at a time, each worker at a bench of its own."""

import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack
from queue import SimpleQueue
from typing import TypeVar

from .table import Counts, Row
from .trial import Bench, Report

Item = TypeVar("Item")
WORKERS = 2 + (os.cpu_count() or 1)
"""More than there are cores: a trial in which a writer was not told waits three seconds for it."""
_TELLING = 60.0
"""Seconds between two words on how far it has come."""


def each(
    items: Iterable[Item],
    work: Callable[[Bench, Item], Iterable[Report]],
    workers: int = WORKERS,
    benches: Callable[[], Bench] = Bench,
    *,
    is_quiet: bool = False,
) -> Iterator[Report]:
    """The reports of every item in which the fault took place, as they come; what is wrong is written to stderr."""
    with ExitStack() as stack:
        free: SimpleQueue[Bench] = SimpleQueue()
        for _ in range(workers):
            free.put(stack.enter_context(benches()))

        def done(item: Item) -> list[Report]:
            bench = free.get()
            try:
                return [report for report in work(bench, item) if report.reached]
            finally:
                free.put(bench)

        pool = stack.enter_context(ThreadPoolExecutor(workers))
        begun = [pool.submit(done, item) for item in items]
        told = time.monotonic()
        for number, future in enumerate(as_completed(begun)):
            if time.monotonic() - told >= _TELLING:
                told = time.monotonic()
                print(f"… {number:,} of {len(begun):,}", file=sys.stderr, flush=True)
            for report in future.result():
                if report.wrongs and not is_quiet:
                    print(report, file=sys.stderr, flush=True)
                yield report


def spread(items: Sequence[Item], share: float) -> Sequence[Item]:
    """An evenly spread share of the items, at least one if there are any."""
    count = max(1, round(len(items) * share)) if items else 0
    return [items[index * len(items) // count] for index in range(count)]


def row(what: str, unit: str, reports: Iterable[Report], detail: str = "") -> Row:
    """All reports as one row; `unit` says what one of them is."""
    reports = list(reports)
    totals = [
        [getattr(report.counts, field) or 0 for report in reports] for field in ("lost", "doubled", "torn", "nul")
    ]
    wrong = [report for report in reports if report.wrongs]
    noticed = sum(report.noticed for report in reports)
    said = detail or (f"{noticed:,} of these runs failed, the others did their work in spite of it" if noticed else "")
    if wrong:
        said = f"{len(wrong)} went wrong, the first: {wrong[0].what}"
    return Row(what, f"{len(reports):,} {unit}", bool(reports) and not wrong, said, Counts(*map(sum, totals)))
