"""Which campaigns there are, and how they are played: one by one, or several at once.

A campaign is a module with a NAME and run(share). Those with `ALONE = True` are played one by one: a busy machine would
spoil what they measure. Then there are three lanes: those that are `BUSY`, whose workers keep every core at work, one
after the other, and beside them, two at a time, the rest, whose limits hold beside other work, those that are `LONG`
first; a lane that is through takes of those, too. Each has a process of its own.
"""

import contextlib
import importlib
import multiprocessing
import sys
import time
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import BrokenExecutor, ProcessPoolExecutor, ThreadPoolExecutor
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
    alone: list[str] = []
    busy: deque[str] = deque()
    waiting: deque[str] = deque()
    for module in chosen:
        is_alone = one_by_one or getattr(module, "ALONE", False)
        (alone if is_alone else busy if getattr(module, "BUSY", False) else waiting).append(module.__name__)
    for name in alone:
        yield play(name, share)
    waiting = deque(sorted(waiting, key=lambda name: not getattr(sys.modules[name], "LONG", False)))
    with ThreadPoolExecutor(3) as lanes:
        begun = [lanes.submit(_lane, turns, share) for turns in ((busy, waiting), (waiting,), (waiting,))]
    for lane in begun:
        yield from lane.result()


def _lane(turns: tuple[deque[str], ...], share: float) -> list[Row | None]:
    """Plays what is first in the first of these that is not empty, until all are."""
    rows: list[Row | None] = []
    while True:
        for names in turns:
            with contextlib.suppress(IndexError):  # a check before would be of another moment
                name = names.popleft()
                break
        else:
            return rows
        rows.append(_apart(name, share))


def _apart(name: str, share: float) -> Row | None:
    """Plays a campaign in a process of its own."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        try:
            return process.submit(play, name, share).result()
        except BrokenExecutor:
            tell(f"{name}: FAILS: its process was killed")
            return Row(what=name, size="not played to its end", holds=False, detail="its process was killed")
