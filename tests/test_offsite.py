"""Backups into a bucket: real servers on loopback, a new machine with nothing but the bucket and the key, damage."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .conftest import environment, until
from .test_backup import at, database, rows_of
from .test_disaster import EXTRAS, PAGE, key
from .test_object_store import KEYS, Server, asked, bucket, failures, moto, objects, rclone  # noqa: F401 - fixtures
from .tree import ROOT, Did, Tree

pytestmark = pytest.mark.skipif(not EXTRAS.exists(), reason="the environment with the extras is not there (make setup)")
JOB = """
[backup.app]
cron = "@daily"
destination = "s3://{to}"
databases = ["LOGS/*.db"]
files = ["LOGS/*.csv"]
{more}
[backup.app.s3]
endpoint = "{url}"
timeout = "20s"

[drill.app]
cron = "@weekly"
destination = "s3://{to}"
set = "app"
{drill}
[drill.app.s3]
endpoint = "{url}"
timeout = "20s"
"""


@pytest.fixture
def tree() -> Iterator[Tree]:
    with tempfile.TemporaryDirectory(prefix="maintd-") as folder:
        yield Tree(Path(folder).resolve())


def configure(tree: Tree, url: str, to: str, more: str = "", drill: str = "") -> None:
    tree.write_config(JOB.format(to=to, url=url, more=more, drill=drill))


def run(tree: Tree, *arguments: str, **env: str) -> "subprocess.CompletedProcess[str]":
    line = [EXTRAS, "-c", tree.config, *arguments]
    done = subprocess.run(
        line, check=False, capture_output=True, text=True, timeout=100, env=environment(**KEYS | env), cwd="/"
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert KEYS["AWS_SECRET_ACCESS_KEY"] not in done.stdout + done.stderr
    return done


def do(tree: Tree, job: str = "backup.app", **env: str) -> Did:
    done = run(tree, "do", job, "--json", **env)
    return Did(done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr)


def taken(tree: Tree) -> Did:
    did = do(tree)
    assert did.code == 0, str(did)
    return did


def listed(tree: Tree) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(tree, "backups", "--json").stdout.splitlines()]


def test_a_disaster_nothing_but_the_bucket_and_the_key(tree, moto, bucket):  # noqa: F811
    """Encrypted into a bucket; what did not change is stored once; on a new machine without a config, state or any file
    of the old one, `--in s3://…` and the key bring every file back, also into a directory such as /tmp; nothing stays
    on the way."""
    configure(
        tree, moto.url, f"{bucket}/some/prefix", f'recipient = "{key(tree.folder)}"', 'identity_file = "HERE/key.txt"'
    )
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"a secret word " * 10)
    taken(tree)
    csv.write_bytes(b"second\n")
    stored = taken(tree).event("snapshot.stored")
    assert (stored["files"], stored["new"]) == (2, 1)
    there = objects(moto, bucket)
    packs = [name for name in there if "/packs/app/" in name]
    assert len(packs) == 2
    assert b"secret word" not in b"".join(there.values())
    assert not list((tree.folder / "state").rglob("*.age"))
    assert do(tree, "drill.app").event("restore.proven")["files"] == 2
    old, new = listed(tree)
    assert (old["verified"], old["proven"], bool(new["proven"])) == (True, None, True)
    with tempfile.TemporaryDirectory(prefix="maintd-new-") as folder:
        machine = Tree(Path(folder).resolve())
        machine.config.unlink()
        secret = Path(folder, "key.txt")
        secret.write_bytes((tree.folder / "key.txt").read_bytes())
        where = ("--in", f"s3://{bucket}/some/prefix")
        assert run(machine, "backups", *where, AWS_ENDPOINT_URL=moto.url).returncode == 0
        restore = ("restore", "app", *where, "--to", f"{folder}/out")
        assert "--identity FILE" in run(machine, *restore, AWS_ENDPOINT_URL=moto.url).stderr
        restore += ("--identity", str(secret))
        Path(folder).chmod(0o777)
        assert "anybody could put another directory" in run(machine, *restore, AWS_ENDPOINT_URL=moto.url).stderr
        Path(folder).chmod(0o1777)
        done = run(machine, *restore, AWS_ENDPOINT_URL=moto.url)
        assert done.returncode == 0, done.stderr
        assert len(rows_of(at(Path(folder, "out"), path))) == 100
        assert at(Path(folder, "out"), csv).read_bytes() == b"second\n"
        assert sorted(os.listdir(folder)) == ["key.txt", "logs", "out"]


def test_in_place_from_a_bucket_and_undone(tree, moto, bucket):  # noqa: F811
    """A restore in place brings the packs that it needs, and can be undone as any other; the commands of the page bring
    a snapshot with rclone alone."""
    configure(tree, moto.url, bucket)
    path, csv = database(tree.logs / "a.db"), tree.log("p.csv", b"first\n")
    taken(tree)
    _by_rclone(tree, moto.url, bucket)
    csv.write_bytes(b"second\n")
    path.unlink()
    plan = run(tree, "restore", "app", "--in-place", "--plan").stdout
    assert plan.splitlines()[1].split()[0] == "bring"
    assert run(tree, "restore", "app", "--in-place").returncode == 0
    assert (len(rows_of(path)), csv.read_bytes()) == (100, b"first\n")
    assert run(tree, "restore", "app", "--undo").returncode == 0
    assert (path.exists(), csv.read_bytes()) == (False, b"second\n")
    assert not list((tree.folder / "state/stores").rglob("*.zst"))


def test_the_retention_and_what_an_interrupted_run_left(tree, moto, bucket):  # noqa: F811
    """Expired snapshots go with the packs that no other has; half a snapshot, and packs of none, go at the next run;
    what is another set's, or no maintd's, stays."""
    configure(tree, moto.url, bucket, "keep = 1")
    tree.log("big.csv", os.urandom(300_000))
    taken(tree)
    for name in ("packs/app/20250101T000000Z.tar.zst", "app.20250101T000000Z/CONTENTS.sha256"):
        asked(f"{moto.url}/{bucket}/{name}", "PUT", b"half")
    for name in ("packs/other/20250101T000000Z.tar.zst", "readme.txt"):
        asked(f"{moto.url}/{bucket}/{name}", "PUT", b"not ours")
    first = {key for key in objects(moto, bucket) if "/2026" in key or ".2026" in key}
    tree.log("a.csv", b"1\n")
    assert taken(tree).event("objects.removed")["objects"] == 2
    did = taken(tree)
    assert "keep is 1" in did.event("snapshot.expired")["reason"]
    there = objects(moto, bucket).keys()
    assert {"packs/other/20250101T000000Z.tar.zst", "readme.txt"} <= there
    assert [key for key in there if "2025" in key and "other" not in key] == []
    assert {key for key in first if key.startswith("packs/")} <= there, "the old pack is still of use"
    assert sum(key.endswith("manifest.json") for key in there) == 2
    (tree.logs / "big.csv").unlink()
    for _ in range(2):
        taken(tree)
    assert not {key for key in first if key.startswith("packs/")} & objects(moto, bucket).keys()


def _by_rclone(tree: Tree, url: str, to: str) -> None:
    (script,) = re.findall(r"```\n([^`]*rclone copy[^`]*)```", PAGE.read_text())
    (stamp,) = [one["snapshot"].partition("@")[2] for one in listed(tree)]
    script = re.sub(r"app\.\w+", f"app.{stamp}", script).replace("store:backups/app-server", f"store:{to}")
    script = script.replace("/mnt/usb", f"{tree.folder}/usb").replace("/tmp/packs.txt", f"{tree.folder}/packs.txt")
    remote = {"TYPE": "s3", "PROVIDER": "Other", "ENDPOINT": url, "ENV_AUTH": "true"}
    env = environment(**KEYS, RCLONE_CONFIG="/dev/null", **{f"RCLONE_CONFIG_STORE_{k}": v for k, v in remote.items()})
    env["PATH"] = f"{ROOT}/.venv-dev/bin:{env['PATH']}"
    subprocess.run(["bash", "-euc", script + "sha256sum --quiet -c SHA256SUMS"], check=True, env=env)


@pytest.mark.parametrize("what", ["pack", "lost pack", "manifest.json"])
def test_damage_in_a_bucket_is_found(tree, moto, bucket, what):  # noqa: F811
    """A flipped byte, an object that is gone, an edited manifest: the drill or the listing finds it, and from then on
    nothing is taken over from that snapshot."""
    configure(tree, moto.url, bucket)
    tree.log("p.csv", os.urandom(10_000))
    taken(tree)
    (name,) = [name for name in objects(moto, bucket) if name.endswith(what) or ("pack" in what and "packs/" in name)]
    data = bytearray(objects(moto, bucket)[name])
    data[len(data) // 2] ^= 1
    if what == "lost pack":
        asked(f"{moto.url}/{bucket}/{name}", "DELETE")
    elif what == "manifest.json":
        edited = objects(moto, bucket)[name].replace(b'"mtime_ns": ', b'"mtime_ns": 1')
        asked(f"{moto.url}/{bucket}/{name}", "PUT", edited)
    else:
        asked(f"{moto.url}/{bucket}/{name}", "PUT", bytes(data))
    did = do(tree, "drill.app")
    assert did.code in (1, 5)
    assert did.events("drill.failed")
    assert run(tree, "backups").returncode == 3
    assert taken(tree).event("snapshot.stored")["new"] == 1
    assert run(tree, "backups").returncode == 0


def test_a_pack_that_is_lost_is_told_beside_an_older_snapshot_that_is_whole(tree, moto, bucket):  # noqa: F811
    """The drill restores the older one, and says that the newer one is damaged."""
    configure(tree, moto.url, bucket)
    tree.log("p.csv", os.urandom(1000))
    taken(tree)
    known = objects(moto, bucket)
    tree.log("q.csv", os.urandom(1000))
    taken(tree)
    (new,) = [name for name in objects(moto, bucket) if name not in known and "packs/" in name]
    asked(f"{moto.url}/{bucket}/{new}", "DELETE")
    did = do(tree, "drill.app")
    assert did.code == 5
    assert "is missing" in did.event("drill.failed")["error_msg"]
    assert did.event("restore.proven")


def test_killed_in_the_middle_of_an_upload(tree, moto, bucket):  # noqa: F811
    """Killed while a large pack goes to the bucket: no snapshot is seen, and the next run clears up and stores it."""
    configure(tree, moto.url, bucket)
    tree.log("large.csv", os.urandom(40 << 20))
    line = [EXTRAS, "-c", tree.config, "do", "backup.app"]
    with subprocess.Popen(line, env=environment(**KEYS), stdout=subprocess.DEVNULL, start_new_session=True) as doing:
        stores = tree.folder / "state/stores"
        until(lambda: [*stores.rglob("manifest.json")], "all is packed, and the upload begins", 60)
        doing.kill()
    assert listed(tree) == []
    did = taken(tree)
    assert did.event("temporary.removed")
    assert [one["verified"] for one in listed(tree)] == [True]
    assert not list(stores.rglob("*maintd-tmp"))
    assert len([key for key in objects(moto, bucket) if "/packs/" in f"/{key}"]) == 1
    assert do(tree, "drill.app").event("restore.proven")["bytes"] == 40 << 20


def test_a_key_that_is_refused_and_a_store_that_is_gone(tree):
    """A wrong key, and a server that does not answer, are each one failure with advice; nothing is left here."""
    store = tree.folder / "store"
    (store / "bucket").mkdir(parents=True)
    tree.log("p.csv")
    server = rclone(store)
    try:
        configure(tree, server.url, "bucket/p")
        (failed,) = failures(do(tree, AWS_SECRET_ACCESS_KEY="wrong"))
        assert "refuses the key" in failed["error_msg"]
        taken(tree)
        assert [one["verified"] for one in listed(tree)] == [True]
        assert do(tree, "drill.app").code == 0
    finally:
        server.kill()
    (failed,) = failures(do(tree))
    assert "object store" in failed["error_msg"]
    assert not list((tree.folder / "state/stores").rglob("*maintd-tmp"))


def test_a_store_that_does_not_heed_ranges(tree, tmp_path):
    """A pack larger than a part goes into the store that `rclone serve s3` is, is read back whole, and is restored."""
    (tmp_path / "store/bucket").mkdir(parents=True)
    server = rclone(tmp_path / "store")
    data = os.urandom(9 << 20)
    csv = tree.log("p.csv", data)
    try:
        configure(tree, server.url, "bucket/p")
        assert taken(tree).event("snapshot.stored")["out_bytes"] > len(data)
        done = run(tree, "restore", "app", "--to", str(tmp_path / "out"))
        assert done.returncode == 0, done.stderr
        assert at(tmp_path / "out", csv).read_bytes() == data
    finally:
        server.kill()
