"""What logrotate does to the same writers, in the two ways that people use it where a writer cannot be told."""

import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from . import account
from .account import Account
from .ground import ground
from .writers import Cast, Writers

LOGROTATE = next((path for path in ("/usr/sbin/logrotate", "/usr/bin/logrotate") if os.path.exists(path)), None)
WAYS = {
    "copytruncate": ("copytruncate", Cast("append")),
    "rename and compress": ("create\n  compress\n  nodelaycompress", Cast("append", rate=50_000)),
}
"""Directives and writer; at full speed gzip never comes to the end of a file that is still written."""
ROTATIONS = 50
GAP = 0.2
"""Seconds between two rotations: as often as maintd looks at its logs."""


def compared(share: float) -> Iterator[str]:
    """In words, how many lines each way loses of an appending writer."""
    if not LOGROTATE:
        yield "logrotate is not installed, so there is nothing beside it (apt-get install logrotate)"
        return
    for way, (directives, cast) in WAYS.items():
        with ground("ext4") as folder:
            found = rotated(folder, directives, cast, max(3, round(ROTATIONS * share)))
        part = found.lost / max(found.written, 1)
        figures = f"{found.lost:,} of {found.written:,} lines lost ({part:.1%}), {found.torn} torn, {found.nul} NUL"
        yield f"logrotate, {way}: {figures}"


def rotated(folder: Path, directives: str, cast: Cast, times: int) -> Account:
    """The account of a writer's lines after logrotate was run so many times."""
    log = folder / "peer.log"
    config = folder / "logrotate.conf"
    config.write_text(f"{log} {{\n  rotate {times + 1}\n  missingok\n  nodateext\n  {directives}\n}}\n")
    config.chmod(0o644)
    writers = Writers(log, folder / "writer", cast)
    try:
        writers.await_lines()
        for _ in range(times):
            time.sleep(GAP)
            command = [LOGROTATE, "--force", "--state", folder / "state", config]
            subprocess.run(command, check=True, capture_output=True, timeout=60)
        writers.end()
        written = writers.ended()
    finally:
        writers.kill()
    old = sorted(folder.glob("peer.log.*"), key=_age, reverse=True)
    found = account.tally(map(account.content, [*old, log]), written)
    found.archives = len(old)
    return found


def _age(path: Path) -> int:
    match = re.fullmatch(r"peer\.log\.(\d+)(\.gz)?", path.name)
    assert match, path
    return int(match[1])
