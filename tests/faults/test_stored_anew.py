"""maintd is killed while it stores anew what an object store has lost."""

import json
from collections import Counter
from pathlib import Path

import pytest

from tests.test_object_store import KEYS, MAINTD, Server, asked, bucket, configure, dated, moto, objects, run
from tests.tree import Tree, files

from .crew import spread
from .lab import Answer, Call, Kill, Lab, Ran

pytestmark = pytest.mark.skipif(not MAINTD.exists(), reason="the environment with the extras is not there (make setup)")
__all__ = ["bucket", "moto"]
POINTS = 3
MOST_RUNS = 4


def lose(tree: Tree, server: Server, bucket: str, name: str) -> None:
    """The store has lost an object, and is to be asked what it has: that was long ago."""
    asked(f"{server.url}/{bucket}/p/{name}", "DELETE")
    (note,) = (tree.folder / "state/stores").glob("*/losses")
    said = json.loads(note.read_text())
    note.write_text(json.dumps(said | {"at": said["at"].replace("20", "19", 1)}))


@pytest.mark.parametrize("name", ["2026-02-03.tar.zst", "b.csv.zst"], ids=["bundle", "file"])
def test_killed_while_a_lost_object_is_stored_anew(tmp_path, moto, bucket, name):
    """Cut off at some of its calls: the originals stay, and the next runs store the object whole and list it once."""
    tree = Tree(tmp_path)
    if name.startswith("b."):
        configure(tree, moto.url, f"s3://{bucket}/p", more="keep_originals = true\n")
        tree.log("b.csv", b"a price\n" * 1000, age=50 * 86400)
    else:
        dated(tree, moto.url, bucket)
        tree.config.write_text(tree.config.read_text().replace('"day"', '"day"\nkeep_originals = true'))
    with Lab(MAINTD, **KEYS) as lab:

        def do(at: int = 0) -> Ran:
            def decide(call: Call) -> Answer:
                return Kill() if call.number == at else None

            return lab.run(tree.folder, "-c", str(tree.config), "do", "--all", "--json", decide=decide)

        assert do().code == 0
        originals = {path: path.read_bytes() for path in files(tree.logs)}
        lose(tree, moto, bucket, name)
        assert do().code == 0, "asks what the store has"
        whole = do()
        assert len(whole.events("object.lost")) == 1, whole
        assert f"p/{name}" in objects(moto, bucket)
        for number in spread(range(1, len(whole.calls) + 1), POINTS / len(whole.calls)):
            lose(tree, moto, bucket, name)
            assert do().code == 0
            killed = do(number)
            assert killed.code == -9, killed
            assert {path: path.read_bytes() for path in files(tree.logs)} == originals
            for _ in range(MOST_RUNS):
                if '"action"' not in run(tree, "plan", "--json").stdout:
                    break
                again = do()
                assert again.code == 0, (killed.calls[-1], again.events(".failed"))
            else:
                pytest.fail(f"there is still something to do: {run(tree, 'plan').stdout}")
            there = objects(moto, bucket)
            assert f"p/{name}" in there, (number, sorted(there))
            lines = [json.loads(line) for line in there["p/maintd-manifest.jsonl"].splitlines()]
            counts = Counter(line.get("member", "") for line in lines if line["name"] == name and not line.get("void"))
            voids = Counter(line.get("member", "") for line in lines if line["name"] == name and line.get("void"))
            assert {counts[member] - voids[member] for member in counts} == {1}, (number, lines)
            verified = run(tree, "archive", "verify")
            assert (verified.returncode, "all as they were" in verified.stdout) == (0, True), (number, verified.stdout)
            assert {path: path.read_bytes() for path in files(tree.logs)} == originals
            assert not [path for path in Path(tmp_path).rglob("*") if path.name.endswith(".maintd-tmp")]
