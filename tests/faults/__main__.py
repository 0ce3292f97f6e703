"""`python -m tests.faults`: runs the campaigns, all or those named, and ends with one table of what they found."""

import argparse
import importlib
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests import faults

from .table import Row, Skipped, table


def campaigns() -> Iterator[ModuleType]:
    """The modules of this package that are campaigns, by name; the others are not loaded."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if "\ndef run(share" in path.read_text(encoding="utf-8"):
            yield importlib.import_module(f"{faults.__name__}.{path.stem}")


def main() -> int:
    """Exit code 0 if every promise holds, 1 if one does not, 3 if a campaign could not run here."""
    known = {module.NAME: module for module in campaigns()}
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("campaign", nargs="*", help=f"one or more of: {', '.join(known)}; all, if none is named")
    parser.add_argument("--share", type=float, default=1.0, help="how much of the full size, 0 to 1")
    asked = parser.parse_args()
    unknown = set(asked.campaign) - set(known)
    if unknown:
        parser.error(f"no such campaign: {', '.join(sorted(unknown))} (there are: {', '.join(known)})")
    rows: list[Row] = []
    skipped = 0
    for name in asked.campaign or known:
        begun = time.monotonic()
        try:
            row = known[name].run(asked.share)
        except Skipped as reason:
            print(f"{name}: skipped: {reason}", file=sys.stderr, flush=True)
            skipped += 1
            continue
        except Exception:
            traceback.print_exc()
            row = Row(what=name, size="not played to its end", holds=False, detail="it broke off, see above")
        rows.append(row)
        print(
            f"{name}: {'holds' if row.holds else 'FAILS'} after {time.monotonic() - begun:.0f} s",
            file=sys.stderr,
            flush=True,
        )
    print(table(rows))
    if not all(row.holds for row in rows):
        return 1
    return 3 if skipped else 0


if __name__ == "__main__":
    sys.exit(main())
