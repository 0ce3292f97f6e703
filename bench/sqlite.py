"""What upkeep of a live database costs its writer, of 300 transactions a second, with and without it, in one run.

The same beside another database is what the processor and the disk cost, and not the locks.

python bench/sqlite.py [--rounds 10]
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.faults import beside_upkeep


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=10, help="runs of the job")
    asked = parser.parse_args()
    cases = [("WAL", beside_upkeep.READING, "only reading: quick_check, probes, integrity_check on a copy")]
    cases += [(mode, beside_upkeep.ALL, "all steps: indexes, optimize, VACUUM too") for mode in beside_upkeep.MODES]
    for mode, job, what in cases:
        _, control = beside_upkeep.tell(mode, asked.rounds, job, apart=True)
        alone, beside = beside_upkeep.tell(mode, asked.rounds, job)
        assert not beside.faults, beside.faults
        stories = (alone, beside, control)
        print(f"{mode}, {what}: alone, beside it, beside it on another database")
        print("  p99 of a transaction: " + ", ".join(f"{1000 * story.p99:.2f} ms" for story in stories))
        print("  the longest:          " + ", ".join(f"{1000 * story.wait:.0f} ms" for story in stories))


if __name__ == "__main__":
    main()
