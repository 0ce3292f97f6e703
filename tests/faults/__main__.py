"""`python -m tests.faults`: runs the campaigns, all or those named, and ends with one table of what they found."""

import argparse
import sys

from .lanes import all_played, campaigns
from .table import table


def main() -> int:
    """Exit code 0 if every promise holds, 1 if one does not, 3 if a campaign could not run here."""
    known = {module.NAME: module for module in campaigns()}
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("campaign", nargs="*", help=f"one or more of: {', '.join(known)}; all, if none is named")
    parser.add_argument("--share", type=float, default=1.0, help="how much of the full size, 0 to 1")
    parser.add_argument("--one-by-one", action="store_true", help="no two campaigns at the same time")
    asked = parser.parse_args()
    unknown = set(asked.campaign) - set(known)
    if unknown:
        parser.error(f"no such campaign: {', '.join(sorted(unknown))} (there are: {', '.join(known)})")
    chosen = [known[name] for name in asked.campaign or known]
    found = list(all_played(chosen, asked.share, one_by_one=asked.one_by_one))
    rows = [row for row in found if row]
    print(table(rows))
    if not all(row.holds for row in rows):
        return 1
    return 3 if len(rows) < len(found) else 0


if __name__ == "__main__":
    sys.exit(main())
