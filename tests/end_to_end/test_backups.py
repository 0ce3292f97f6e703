"""Backups in a daemon's life: status knows of them, a restore pauses it and restarts programs."""

import json
import os
import subprocess
from pathlib import Path

from tests.conftest import environment, until
from tests.test_backup import JOB as JOB_HERE
from tests.test_backup import database, rows_of
from tests.test_restore import WAITING, killed_half_way, write
from tests.tree import MAINTD

JOB = '[backup.app]\ncron = "@yearly"\ndestination = "{0}/kept"\ndatabases = ["{0}/data/*.db"]\nprograms = ["api"]\n'
DRILL = '[drill.app]\ncron = "@yearly"\ndestination = "{0}/kept"\nset = "app"\n'


def test_a_restore_in_place_beside_the_daemon(stage):
    """The daemon takes the backup without loading SQLite's other library; the restore pauses it, and restarts the set's
    programs; if the set's check fails, all is as before and the programs run."""
    made = stage({"api": ["10"]}, "")
    folder = made.folder
    (folder / "data").mkdir()
    path = database(folder / "data/a.db")
    jobs = JOB.format(folder)
    made.write_config(jobs + DRILL.format(folder))
    made.start()
    assert made.maintd("do", "--all").returncode == 0
    status = made.maintd("status").stdout
    assert "1 snapshot, restore last proven" in " ".join(status.split())
    assert not _mapped(made.pid_of("maintd"), "apsw", "zstd")
    write(path, 3)
    before = made.pid_of("api")
    done = made.maintd("restore", "app", "--in-place")
    assert done.returncode == 0, done.stderr
    assert len(rows_of(path)) == 100
    assert made.pid_of("api") not in (0, before)
    assert made.events("job.paused")
    assert made.events("job.resumed")
    assert made.maintd("restore", "app", "--undo").returncode == 0
    assert len(rows_of(path)) == 3
    made.write_config(jobs + 'checks = [["/bin/false"]]\n')
    assert made.maintd("reload", "--force").returncode == 0
    assert made.maintd("do", "backup.app").returncode == 0
    write(path, 7)
    done = made.maintd("restore", "app", "--in-place")
    assert done.returncode == 1
    assert "everything was put back" in done.stderr
    assert len(rows_of(path)) == 7
    assert made.pid_of("api")


def test_a_program_that_supervisord_does_not_know(stage):
    """A backup tells it. A restore in place from a snapshot that names a program which was removed since says so and
    goes on, and so does its --undo, also if it was stopped by the restore and is not there any more."""
    made = stage({"api": ["10"], "web": ["10"]}, "")
    path = made.folder / "data/a.db"
    path.parent.mkdir()
    database(path)
    made.write_config(JOB.format(made.folder).replace('["api"]', '["old", "web"]'))
    made.start()
    assert made.maintd("do", "backup.app").returncode == 0
    assert made.event("program.missed", target="old")["level"] == "warning"
    write(path, 3)
    done = made.maintd("restore", "app", "--in-place")
    assert done.returncode == 0, done.stderr
    assert "supervisord knows no program old, which the set names" in done.stderr
    assert len(rows_of(path)) == 100
    conf = made.folder / "supervisord.conf"
    conf.write_text(conf.read_text().replace("[program:web]", "[program:other]"))
    made.ctl("update", "web", "other")
    done = made.maintd("restore", "app", "--undo")
    assert done.returncode == 0, done.stderr
    assert "web ran before, and was not started" in done.stderr
    assert len(rows_of(path)) == 3


def test_the_pause_of_a_restore_that_was_killed_ends_with_its_undo(daemon):
    """A restore in place that was killed leaves the daemon paused; --undo, which puts everything back, ends that; a
    pause that a person has begun lasts."""
    made = daemon(JOB_HERE + WAITING)
    database(made.tree.logs / "a.db")
    made.start()
    assert made.tree.do().code == 0
    killed_half_way(made.tree)
    assert made.status()["paused_all"]
    assert made.tree.run("restore", "app", "--undo").returncode == 0
    assert not made.status()["paused_all"]
    (made.tree.folder / "there").unlink()
    assert made.tree.run("pause", "--for", "5h").returncode == 0
    killed_half_way(made.tree)
    assert made.tree.run("restore", "app", "--undo").returncode == 0
    assert made.status()["paused_all"]


def test_a_restore_ends_no_pause_but_its_own(daemon):
    """A job that a person has paused is so after a restore in place too, and so are all if he paused all meanwhile."""
    made = daemon(JOB_HERE)
    path = database(made.tree.logs / "a.db")
    made.start()
    assert made.tree.do().code == 0
    write(path, 3)
    assert made.tree.run("pause", "backup.app").returncode == 0
    assert made.tree.run("restore", "app", "--in-place").returncode == 0
    assert (made.status()["paused_all"], made.state_of("backup.app")) == (False, "paused")
    assert made.tree.run("restore", "--undo", "app").returncode == 0
    meanwhile = f'checks = [["{MAINTD}", "-c", "{made.tree.config}", "pause"]]\n'
    made.tree.write_config(JOB_HERE + meanwhile)
    assert made.tree.run("reload").returncode == 0
    assert made.tree.run("resume").returncode == 0
    assert made.tree.do().code == 0
    assert made.tree.run("restore", "app", "--in-place").returncode == 0
    assert made.status()["paused_all"]


IMPATIENT = "import maintd.cli, maintd.cli.alone; maintd.cli.alone._PAUSE = 18; maintd.cli.main()"


def test_the_pause_lasts_as_long_as_the_restore(daemon):
    """A restore in place that takes longer than the pause that it asks for at a time has it last longer, and its note
    says until when."""
    waiting = ["/bin/sh", "-c", "touch HERE/there; until test -e HERE/go; do sleep 0.1; done"]
    made = daemon(JOB_HERE + f"checks = {[waiting]}\n")
    here = made.tree.folder
    database(made.tree.logs / "a.db")
    made.start()
    assert made.tree.do().code == 0
    line = [MAINTD.with_name("python"), "-c", IMPATIENT, "-c", made.tree.config, "restore", "app", "--in-place"]
    with subprocess.Popen(line, env=environment(), stderr=subprocess.PIPE) as process:
        until((here / "there").exists, "its check runs")
        before, note = made.status()["paused_all_until"], here / "state/restores/app.json"
        until(lambda: made.status()["paused_all_until"] > before, "it is renewed", 30)
        until(lambda: json.loads(note.read_text())["paused"] == made.status()["paused_all_until"], "it is noted")
        (here / "go").touch()
        assert process.wait(60) == 0
    assert not made.status()["paused_all"]


def _mapped(pid: int, *names: str) -> list[str]:
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return [line for line in lines if any(name in os.path.basename(line.split()[-1]) for name in names)]
