"""`python -m tests.faults`: runs the campaigns, all or those named, and ends with one table of what they found.

A campaign is a module with a NAME and run(share). Those with `ALONE = True` measure a time or a pace, and are played one
by one; after them the others, as many at once as there are lanes, each in a process by itself.
"""

import argparse
import importlib
import multiprocessing
import os
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from types import ModuleType

from tests import faults

from .table import Row, Skipped, table

LANES = len(os.sched_getaffinity(0))


def campaigns() -> Iterator[ModuleType]:
    """The modules of this package that are campaigns, by name; the others are not loaded."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if "\ndef run(share" in path.read_text(encoding="utf-8"):
            yield importlib.import_module(f"{faults.__name__}.{path.stem}")


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
    tell(f"{campaign.NAME}: {'holds' if row.holds else 'FAILS'} after {time.monotonic() - begun:.0f} s")
    return row


def tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def all_played(chosen: Iterable[ModuleType], share: float, lanes: int) -> Iterator[Row | None]:
    """What each campaign found, in the order of those that are played alone and those that are not."""
    alone, others = [], []
    for module in chosen:
        (alone if lanes == 1 or getattr(module, "ALONE", False) else others).append(module.__name__)
    for name in alone:
        yield play(name, share)
    if others:
        afresh = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(lanes, afresh, max_tasks_per_child=1) as pool:
            yield from pool.map(play, others, [share] * len(others))


def main() -> int:
    """Exit code 0 if every promise holds, 1 if one does not, 3 if a campaign could not run here."""
    known = {module.NAME: module for module in campaigns()}
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("campaign", nargs="*", help=f"one or more of: {', '.join(known)}; all, if none is named")
    parser.add_argument("--share", type=float, default=1.0, help="how much of the full size, 0 to 1")
    parser.add_argument(
        "--lanes", type=int, default=LANES, help="how many campaigns at once (default: one on each CPU)"
    )
    asked = parser.parse_args()
    unknown = set(asked.campaign) - set(known)
    if unknown:
        parser.error(f"no such campaign: {', '.join(sorted(unknown))} (there are: {', '.join(known)})")
    found = list(all_played([known[name] for name in asked.campaign or known], asked.share, asked.lanes))
    rows = [row for row in found if row]
    print(table(rows))
    if not all(row.holds for row in rows):
        return 1
    return 3 if len(rows) < len(found) else 0


if __name__ == "__main__":
    sys.exit(main())
