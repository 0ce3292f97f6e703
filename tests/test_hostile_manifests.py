"""Manifests that somebody has written who wants root to reach other files: of an archive, and of a snapshot."""

import json
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from maintd import inventory

from .test_archive import archived, job, succeeded
from .test_backup import JOB, database, manifest, rewrite, snapshots
from .test_drill import DRILL
from .test_expire import needs_root
from .tree import Tree

LEADS_OUT = ["{victim}", "../{name}", "x/../../{name}", "./{name}", inventory.NAME, ""]


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve())


def odd(name: str, victim: Path) -> str:
    return name.format(victim=victim, name=victim.name)


@pytest.mark.parametrize(
    ("where", "name"), [("name", name) for name in LEADS_OUT] + [("member", name) for name in LEADS_OUT[:4]]
)
def test_a_line_of_an_archive_that_leads_out_of_it_is_damaged(tree, where, name):
    """Nothing outside the archive is removed or read for it, whatever its policy; the line counts as unreadable."""
    tree.write_config(job('keep_last = 1\nmax_share = "100%"\n'))
    for day in (1, 2):
        tree.log(f"p-2026-02-0{day}.csv", b"%d\n" % day)
    succeeded(tree.do())
    victim = tree.folder / "precious.txt"
    victim.write_text("the only copy\n")
    manifest = tree.folder / "archive" / inventory.NAME
    line = json.loads(manifest.read_text().splitlines()[0])
    hostile = line | {where: odd(name, victim), "original": "/gone/old-2020-01-01.csv", "mtime_ns": 1}
    manifest.write_text(manifest.read_text() + json.dumps(hostile) + "\n")
    succeeded(tree.do())
    assert victim.read_text() == "the only copy\n"
    assert manifest.exists()
    assert len(archived(tree)) == 1
    found = tree.run("archive", "verify")
    assert found.returncode != 0
    assert "1 damaged line" in found.stderr


@pytest.mark.parametrize("name", ["{victim}", "../../../{name}", "a/../../{name}"])
@pytest.mark.parametrize("where", ["entries", "packs"])
def test_a_snapshot_that_leads_out_of_where_it_goes_is_refused(tree, name, where):
    """Neither a drill nor a restore writes anything for such a manifest, also if its checksums are right."""
    tree.write_config(JOB + DRILL)
    database(tree.logs / "a.db")
    tree.log("p.csv", b"first\n")
    assert tree.do("backup.app").code == 0
    victim = tree.folder / "victim"
    victim.write_text("as it was\n")
    (snapshot,) = snapshots(tree)
    text = json.loads((snapshot / "manifest.json").read_text())
    text[where][0]["name"] = odd(name, victim)
    rewrite(snapshot, text)
    before = set(os.listdir(tree.folder))
    did = tree.do("drill.app")
    assert did.code in {1, 5}
    assert did.events("drill.failed")
    restored = tree.run("restore", "app", "--to", str(tree.folder / "out"))
    assert restored.returncode != 0
    assert victim.read_text() == "as it was\n"
    assert set(os.listdir(tree.folder)) - before <= {"out"}


@pytest.mark.parametrize("field", [{"uid": -5}, {"gid": 1 << 32}, {"mode": -1}, {"mtime_ns": "now"}, {"size": -1}])
def test_a_snapshot_with_an_owner_that_nobody_can_be_is_refused(tree, field):
    """What no file can have is found when the manifest is read, by the drill and by a restore, and not half way."""
    tree.write_config(JOB + DRILL)
    tree.log("p.csv", b"first\n")
    assert tree.do("backup.app").code == 0
    (snapshot,) = snapshots(tree)
    known = manifest(snapshot)
    known["entries"][0] |= field
    rewrite(snapshot, known)
    assert tree.run("backups", "app").returncode == 3
    stamp = snapshot.name.partition(".")[2]
    done = tree.run("restore", f"app@{stamp}", "--to", f"{tree.folder}/out")
    assert done.returncode != 0
    assert "no file can have" in done.stderr or "is no manifest" in done.stderr
    assert "Traceback" not in done.stderr
    assert tree.do("drill.app").events("drill.failed")


@needs_root
def test_who_may_read_a_manifest_cannot_hold_up_the_archive(tree):
    """Another user can neither read nor lock it; who may, and keeps it locked, has the job put off, and not hang."""
    tree.folder.chmod(0o755)
    tree.write_config(job('keep_last = 1\nmax_share = "100%"\n'))
    for day in (1, 2):
        tree.log(f"p-2026-02-0{day}.csv", b"%d\n" % day)
    succeeded(tree.do())
    holder = ["flock", "-s", tree.folder / "archive" / inventory.NAME, "sh", "-c", "echo held; exec sleep 60"]
    nobody = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *holder]
    assert "Permission denied" in subprocess.run(nobody, check=False, capture_output=True, text=True).stderr
    tree.log("p-2026-02-03.csv", b"3\n")
    held = subprocess.Popen(holder, stdout=subprocess.PIPE, process_group=0)
    try:
        assert held.stdout
        assert held.stdout.readline() == b"held\n"
        reasons = {event["reason"] for event in tree.do().events("action.waiting")}
        assert reasons == {"another process has maintd-manifest.jsonl locked"}
        assert tree.names() == ["p-2026-02-03.csv"]
    finally:
        os.killpg(held.pid, signal.SIGKILL)
        held.communicate()
    succeeded(tree.do())
    assert archived(tree) == ["p-2026-02-02.csv.zst", "p-2026-02-03.csv.zst"]
