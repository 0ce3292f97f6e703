"""maintd's own files are never worked on, whatever the patterns of a job name; its event log is, like any other."""

import json
import os
import subprocess
from pathlib import Path

from .conftest import Command, Site, until
from .tree import Tree

EVERYTHING = (
    '[rotate.all]\npaths = ["HERE/**"]\nevery = "1d"\n'
    '[compress.all]\npaths = ["HERE/**", "HERE/state/.*"]\nevery = "1d"\nolder_than = "0s"\n'
)


def everything(folder: Path) -> Tree:
    """A tree whose jobs name all that is in it, with its state in place and a config of two files."""
    tree = Tree(folder, EVERYTHING)
    (folder / "conf.d").mkdir()
    (folder / "conf.d/more.toml").write_text('[rotate.more]\npaths = ["/nowhere/*.log"]\nevery = "1d"\n')
    for name in ("state", "run"):
        (folder / name).mkdir(mode=0o700)
        (folder / name / "state.sqlite").write_bytes(b"ours\n")
        (folder / name / ".hidden").write_bytes(b"ours\n")
    return tree


def inodes(tree: Tree) -> dict[str, int]:
    """What is there of maintd itself: paths with their inodes."""
    folders = [tree.folder / name for name in ("conf.d", "state", "run")]
    return {str(path): path.stat().st_ino for folder in folders for path in folder.iterdir()} | {
        str(tree.config): tree.config.stat().st_ino
    }


def test_a_pattern_for_everything_leaves_out_what_is_maintds_own(tmp_path):
    """`**` over state_dir, runtime_dir, config and conf.d rotates and compresses the logs there, and none of these."""
    tree = everything(tmp_path)
    tree.log("a.log")
    events = tree.log("events.log")
    before = inodes(tree)
    planned = {step["target"] for step in tree.plan() if step["step"] == "action" and step["verb"] == "rotate"}
    assert planned == {str(tree.logs / "a.log"), str(events)}
    assert tree.do("rotate.all", "compress.all").code == 0
    after = inodes(tree)
    assert after.items() >= before.items()
    assert after.keys() - before.keys() == {f"{tmp_path}/state/lock"}
    assert sorted(os.listdir(tmp_path)) == ["conf.d", "logs", "maintd.toml", "run", "state"]


def test_a_pattern_that_names_maintds_own_files_is_told_so(tmp_path):
    """`plan` and `check` say of a file of maintd's, or a pattern below its directories, that it is never touched."""
    tree = everything(tmp_path)
    named = ["HERE/maintd.toml", "HERE/state/state.sqlite", "HERE/run/*", "HERE/conf.d/**"]
    for kind, rest in (("rotate", ""), ("compress", 'older_than = "1s"\n')):
        tree.write_config(f'[{kind}.own]\npaths = {json.dumps(named)}\nevery = "1d"\n{rest}')
        steps = tree.plan(f"{kind}.own")
        assert {step["step"] for step in steps} == {"finding"}
        assert {step["target"] for step in steps} == {name.replace("HERE", str(tmp_path)) for name in named}
        assert all("belongs to maintd itself" in step["reason"] for step in steps)
        assert tree.run("check").stderr.count("belongs to maintd itself") == len(named)


def test_a_config_elsewhere_behind_a_link_is_maintds_own_too(tmp_path):
    """The file that a linked config leads to is left out like the config itself."""
    tree = Tree(tmp_path, '[rotate.all]\npaths = ["LOGS/*"]\nevery = "1d"\n')
    real = tree.logs / "real.toml"
    tree.config.rename(real)
    tree.config.symlink_to(real)
    tree.log("a.log")
    assert [step["target"] for step in tree.plan() if step.get("verb") == "rotate"] == [str(tree.logs / "a.log")]


def test_growth_of_maintds_own_files_is_not_watched(site: Site, maintd: Command):
    """A daemon that watches `**` watches the logs alone: its state that changes all the time is no growth."""
    site.configure(f'[rotate.all]\npaths = ["{site.root}/**"]\nmax_size = 1\n')
    site.log("a.log")
    maintd.start("run", stdout=subprocess.DEVNULL)
    until(lambda: "a.log" in site.names() and len(site.names()) == 2, "the log is rotated and compressed")
    (site.state_dir / "more").write_text("x" * 100)
    (site.state_dir / "below").mkdir()
    (site.state_dir / "below/more").write_text("x" * 100)
    site.log("b.log")
    until(lambda: len(site.names()) == 4, "a log that came later is rotated as well")
    status = json.loads(maintd("status", "--json").stdout)
    assert status["growth"]["files"] == 2
    assert (site.state_dir / "more").read_text() == "x" * 100
    assert not [path for path in site.root.rglob("*.zst") if path.parent != site.logs]


def test_snapshots_and_what_a_restore_set_aside_are_named_by_no_pattern(tmp_path):
    """`**` over a directory for backups touches and stores none of what lies there; files beside it go."""
    tree = Tree(
        tmp_path,
        '[backup.app]\nfiles = ["LOGS/*.csv"]\ndestination = "HERE/kept"\ncron = "@daily"\n'
        '[backup.all]\nfiles = ["HERE"]\ndestination = "HERE/other"\ncron = "@daily"\n'
        '[expire.old]\npaths = ["HERE/**"]\nexclude = ["HERE/logs/**"]\ncron = "@daily"\n'
        'max_age = "1s"\nkeep_last = 1\nmax_share = "100%"\n'
        '[archive.old]\npaths = ["HERE/kept/**"]\nto = "HERE/archive"\nolder_than = "1s"\ncron = "@daily"\n'
        '[rotate.all]\npaths = ["HERE/kept/**"]\ncron = "@daily"\n',
    )
    tree.log("a.csv", b"one\n", age=9999)
    assert tree.do("backup.app").code == 0
    (snapshot,) = (tmp_path / "kept").iterdir()
    (aside,) = [tmp_path / ".a.maintd-aside"]
    aside.mkdir()
    (aside / "a.csv").write_bytes(b"before\n")
    strange = [tmp_path / "kept/app.csv", tmp_path / "kept/app.20260101T000000Z.csv"]
    for path in strange:
        path.write_bytes(b"somebody's\n")
    for path in [*snapshot.rglob("*"), snapshot, aside / "a.csv", *strange]:
        os.utime(path, (1e9, 1e9))
    targets = {
        step["target"] for step in tree.plan("expire.old", "archive.old", "rotate.all") if step["step"] == "action"
    }
    assert not [target for target in targets if target.startswith((str(snapshot), str(aside)))]
    assert str(strange[0]) in targets
    assert tree.do("backup.all").code == 0
    ((whole),) = (tmp_path / "other").iterdir()
    listed = (whole / "CONTENTS.sha256").read_text()
    assert "logs/a.csv" in listed
    assert snapshot.name not in listed
    assert "maintd-aside" not in listed
