"""What the resident process holds: no module that only a child, a check or a developer needs, and little memory."""

import os
import subprocess

from .stage import ROOT

UNWANTED = ("rich", "zlib_ng", "backports.zstd", "_zstd", "toml_rs", "hypothesis", "numpy", "click_man")
UNWANTED += ("apsw", "redis", "psycopg", "psutil", "obstore", "apprise", "cryptography", "urllib3", "requests")
UNWANTED += ("pyrage", "tarfile")
MOST_RSS = 60e6


def test_the_resident_process_stays_small(stage):
    """After many runs the daemon is below 60 MB RSS, and no compressor or developer's library is mapped into it."""
    made = stage({"api": ["3000"]}, '[rotate.services]\npaths = ["LOGS/*.log"]\nmax_size = "50K"\nkeep = 3\n')
    made.start()
    made.event("log.compressed", count=12)
    pid = made.pid_of("maintd")
    with open(f"/proc/{pid}/status") as lines:
        rss = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))
    with open(f"/proc/{pid}/maps") as lines:
        mapped = {line.split()[-1] for line in lines if ".so" in line}
    assert rss < MOST_RSS
    assert not [path for path in mapped for name in ("zlib_ng", "zstd", "toml_rs") if name in os.path.basename(path)]


def test_the_daemon_imports_nothing_it_does_not_need():
    """Importing the whole daemon, with all kinds and their plans and actions, loads none of the modules of the list."""
    code = (
        "import sys, maintd.daemon, maintd.rotation, maintd.jobs as jobs\n"
        "import maintd.actions.sqlite, maintd.actions.drill, maintd.backing_up\n"
        "[jobs.kind(name) for name in jobs.kinds()]\n"
        f"print([name for name in {UNWANTED!r} if name in sys.modules])"
    )
    done = subprocess.run([ROOT / ".venv/bin/python", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
