"""Which campaigns there are, and how they are played: one by one, or several at once.

A campaign is a module with a NAME and run(share). Those with `ALONE = True` are played one by one: a busy machine would
spoil what they measure. Then there are two lanes: those that are `BUSY`, whose workers keep every core at work, one
after the other, and beside them the rest, whose limits hold beside other work. Each has a process of its own.
"""

import importlib
import multiprocessing
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType

from .table import Row, Skipped


def campaigns() -> Iterator[ModuleType]:
    """The modules of this package that are campaigns, by name; the others are not loaded."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if "\ndef run(share" in path.read_text(encoding="utf-8"):
            yield importlib.import_module(f"{__package__}.{path.stem}")


def play(module: str, share: float) -> Row | None:
    """What a campaign found; None if it cannot run here, which it has said then."""
    campaign = importlib.import_module(module)
    begun = time.monotonic()
    try:
        row: Row = campaign.run(share)
    except Skipped as reason:
        tell(f"{campaign.NAME}: skipped: {reason}")
        return None
    except Exception:
        traceback.print_exc()
        row = Row(what=campaign.NAME, size="not played to its end", holds=False, detail="it broke off, see above")
    came = "holds" if row.holds else "FAILS"
    tell(f"{campaign.NAME}: {came} after {time.monotonic() - begun:.0f} s{'' if row.holds else f': {row.detail}'}")
    return row


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def all_played(chosen: Iterable[ModuleType], share: float, *, one_by_one: bool) -> Iterator[Row | None]:
    """What each campaign found: first those that are played alone, then those with many workers, then the others."""
    alone, busy, waiting = [], [], []
    for module in chosen:
        is_alone = one_by_one or getattr(module, "ALONE", False)
        (alone if is_alone else busy if getattr(module, "BUSY", False) else waiting).append(module.__name__)
    for name in alone:
        yield play(name, share)
    afresh = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        lanes = [stack.enter_context(ProcessPoolExecutor(1, afresh, max_tasks_per_child=1)) for _ in range(2)]
        begun = [
            (name, lane.submit(play, name, share))
            for lane, names in zip(lanes, (busy, waiting), strict=True)
            for name in names
        ]
        for name, future in begun:
            try:
                yield future.result()
            except BrokenExecutor:
                yield Row(
                    what=name, size="not played", holds=False, detail="its process, or the one before it, was killed"
                )
