"""What `maintd check` warns of: options that name what is not there, and what supervisord does or does not say."""

import json
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import until
from .tree import ROOT, Tree

ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\n'
CONF = """
[supervisord]
nodaemon=true
[unix_http_server]
file={folder}/supervisor.sock
[rpcinterface:supervisor]
supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface
[program:web]
command=/bin/sleep 60
autostart=false
stdout_logfile={folder}/logs/web.log
stdout_logfile_maxbytes={limit}
stderr_logfile=NONE
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose name is short enough for a socket's path."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as made:
        yield Path(made).resolve()


@pytest.fixture
def tree(folder: Path) -> Tree:
    tree = Tree(folder, ROTATE)
    tree.log("web.log")
    return tree


@pytest.fixture
def supervise(tree: Tree) -> Iterator[Callable[[str], None]]:
    """Starts a real supervisord at the tree's URL, with a program `web` whose log it may roll over itself."""
    running: list[subprocess.Popen[bytes]] = []

    def start(limit: str = "0") -> None:
        conf = tree.folder / "supervisord.conf"
        conf.write_text(CONF.format(folder=tree.folder, limit=limit))
        program = [ROOT / ".venv-dev/bin/supervisord", "-c", conf, "-l", os.devnull, "-j", tree.folder / "pid"]
        running.append(subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        until((tree.folder / "supervisor.sock").exists, "supervisord's socket")

    yield start
    for process in running:
        process.kill()  # it has started nothing
        process.wait()


def warnings(tree: Tree) -> list[str]:
    """What check warns of, without the places."""
    done = tree.run("check", "--json")
    assert done.returncode == 0, done.stderr
    return [problem["message"] for problem in json.loads(done.stdout)["problems"]]


def test_strict_is_content_where_nothing_is_wrong(tree, supervise):
    """With everything in its place there is no warning, and --strict ends with 0."""
    supervise()
    tree.write_config(ROTATE + 'signal = { name = "USR1", program = "web" }\nafter = ["true"]\nolddir = "HERE/old"\n')
    assert warnings(tree) == []
    assert tree.run("check", "--strict").returncode == 0


def test_a_supervisord_that_cannot_be_asked_is_no_silence(tree):
    """Without supervisord nobody knows which logs it rolls over: a warning at its URL, asked once; 3 with --strict."""
    tree.write_config(ROTATE + 'signal = { name = "USR1", program = "web" }\n')
    done = tree.run("check", "--strict")
    assert done.returncode == 3
    (warning,) = done.stderr.splitlines()
    assert re.match(rf"{tree.config}:6:1: warning: supervisor: .* there is no such socket", warning)
    assert "it is not known which logs it rolls over itself" in warning


def test_what_supervisord_rolls_over_itself_is_warned_of(tree, supervise):
    """A log with stdout_logfile_maxbytes set in its program's section."""
    supervise("20MB")
    (warning,) = warnings(tree)
    assert warning.startswith(f"rotate.all: {tree.logs}/web.log: supervisord itself rolls it over at 20.0 MiB")


def test_a_program_that_supervisord_does_not_know(tree, supervise):
    """signal.program that is no program of supervisord, with the place of the option."""
    supervise()
    tree.write_config(ROTATE + 'signal = { name = "USR1", program = "webb" }\n')
    (warning,) = tree.run("check").stderr.splitlines()
    assert warning.startswith(f"{tree.config}:10:27: warning: rotate.all.signal.program: there is no program webb")


@pytest.mark.parametrize(
    ("option", "said"),
    [
        ('command = ["HERE/none", "x"]', "command: HERE/none does not exist or may not be run"),
        ('before = ["HERE/plain"]', "before: HERE/plain does not exist or may not be run"),
        (
            'after = ["maintd-has-no-such-program"]',
            "after: maintd-has-no-such-program does not exist or may not be run",
        ),
        ('signal = { name = "HUP", pidfile = "HERE/x.pid" }', "signal.pidfile: HERE/x.pid: No such file or directory"),
        ('signal = { name = "HUP", pidfile = "HERE" }', "signal.pidfile: HERE is not a regular file"),
        ('olddir = "HERE/plain/none/old"', "olddir: HERE/plain is not a directory"),
        ('olddir = "HERE/plain"', "olddir: HERE/plain is not a directory"),
    ],
)
def test_what_an_option_names_and_is_not_there(tree, supervise, option, said):
    """Commands that cannot be started, pidfiles and directories that are missing: one warning, at the option."""
    supervise()
    (tree.folder / "plain").write_text("not to be run")
    tree.write_config(ROTATE + option + "\n")
    (warning,) = tree.run("check").stderr.splitlines()
    place, _, message = warning.partition(": warning: rotate.all.")
    assert re.fullmatch(rf"{tree.config}:10:\d+", place)
    assert message == said.replace("HERE", str(tree.folder))


def test_a_relative_olddir_is_made_and_not_warned_of(tree, supervise):
    """A directory relative to each log's own is made with the first rotation."""
    supervise()
    tree.write_config(ROTATE + 'olddir = "old"\n')
    assert warnings(tree) == []
    done = tree.do()
    assert done.event("log.rotated")["rotated_to"].startswith(f"{tree.logs}/old/web.log."), done


def test_a_config_without_jobs_is_warned_of(tree):
    """A config that has no job, or none that is enabled, is valid and looks after nothing, and says so."""
    tree.write_config("")
    assert warnings(tree) == ["there is no job, such as [rotate.services]: maintd looks after nothing"]
    tree.write_config(ROTATE + "enabled = false\n")
    assert warnings(tree) == ["every job is disabled: maintd looks after nothing"]
    assert tree.run("check", "--strict").returncode == 3


def test_what_python_finds_odd_in_an_expression_is_not_told(tree):
    """A regular expression that Python warns of, and takes, is right: `check` says nothing of it."""
    tree.write_config('[check.log.a]\npaths = ["LOGS/web.log"]\nmatches = "[[a]"\ndegraded_count = 1\n')
    done = tree.run("check")
    assert done.returncode == 0
    assert "FutureWarning" not in done.stderr
    assert "matches" not in done.stderr


BEYOND = """
[alerts.channels.pager]
command = ["/no/such/pager"]
[[alerts.routes]]
jobs = ["rotate.*", "rotate.servcies", "program.web:*", "check.*", "check.htp.*", "chekc.*", "programs.x:*", "state.*"]
[[alerts.routes]]
severity = "critical"
jobs = ["program.web:*", "cascade"]
[check.file.stays_away]
paths = ["HERE/nowhere/lock"]
absent = true
[[alerts.maintenance]]
window = "02:00-03:00"
jobs = ["api"]
[backup.app]
cron = "@daily"
files = ["HERE/maintd.toml", "HERE/nowhere", "LOGS/*.csv", "HERE/nowhere/*.csv"]
databases = ["HERE/none.db"]
commands = {dump = ["/no/such/dump"]}
destination = "HERE/kept"
keep = 2
[drill.app]
set = "app"
destination = "HERE/kept"
cron = "@daily"
[guard.disk]
directory = "HERE"
min_free = "8000T"
[sqlite.all]
cron = "@daily"
paths = ["LOGS/*.db"]
indexes = ["trades(a, b DESC)", "unique trades(lower(a)) where b = 1", "trades(a,", "trades"]
probes = ["SELECT a FROM trades where a = 1", "SELEKT 1", "SELECT 'x"]
"""


def test_what_can_never_work_is_said_before_it_is_tried(tree):
    """Of channels, routes, sources, drills, floors, indexes and probes: each fault once, and no more."""
    tree.write_config(ROTATE + BEYOND)
    said = re.sub(r"(?m)^[^:]*:\d+:\d+: warning: ", "", tree.run("check").stderr).replace(f"{tree.folder}", "HERE")
    told = [line for line in said.splitlines() if not line.startswith(("supervisor:", "sqlite.all: "))]
    idle = "rotate.servcies", "check.htp.*", "chekc.*", "programs.x:*"
    assert sorted(told) == sorted(
        [
            "alerts.channels: pager: /no/such/pager does not exist or may not be run",
            *(f'alerts.routes: "{name}" matches no job, whose names are KIND.NAME' for name in idle),
            next(line for line in told if line.startswith('alerts.routes: "program.web:*" matches nothing with ')),
            'alerts.maintenance: "api" matches no job, whose names are KIND.NAME',
            "backup.app.files: HERE/nowhere is not there",
            "backup.app.files: HERE/nowhere/*.csv is not there",
            "backup.app.databases: HERE/none.db is not there",
            "backup.app.commands: /no/such/dump does not exist or may not be run",
            "drill.app.destination: there is no directory HERE/kept, so there are no snapshots yet",
            next(line for line in told if line.startswith("guard.disk.min_free: the whole file system has ")),
            "sqlite.all.indexes: 'trades' declares no index (write \"table(column, column DESC)\")",
            next(line for line in told if line.startswith("sqlite.all.indexes: 'CREATE INDEX")),
            "sqlite.all.probes: 'SELEKT 1': near \"SELEKT\": syntax error",
            next(line for line in told if line.startswith('sqlite.all.probes: "SELECT \'x": ')),
        ]
    )


def test_logs_that_two_jobs_change_and_logs_with_two_names(tree, supervise):
    """A `compress` job that takes a job's live logs is warned of, and so is a log that is refused for its hard link."""
    supervise()
    os.link(tree.logs / "web.log", tree.folder / "other")
    tree.write_config(ROTATE + '[compress.old]\npaths = ["LOGS/*"]\nolder_than = "1d"\ncron = "@daily"\n')
    log = tree.logs / "web.log"
    assert warnings(tree) == [
        f"rotate.all: {log} will not be rotated: a log with a second name (hard link) is refused",
        f"compress.old.paths: {log}: rotated by rotate.all too; exclude it in one of the two jobs",
    ]


ARCHIVE = '[archive.old]\npaths = ["LOGS/**/*.csv"]\nto = "LOGS/archive"\nolder_than = "30d"\ncron = "@daily"\n'


def test_a_job_that_has_done_its_work_is_not_warned_of(tree, supervise):
    """A pattern whose files were all archived, or compressed, is no slip; one that never named anything is."""
    supervise()
    jobs = ARCHIVE + '[expire.old]\npaths = ["LOGS/2*.csv", "LOGS/archvie/*.x"]\nmax_age = "365d"\ncron = "@daily"\n'
    jobs += '[compress.old]\npaths = ["LOGS/*.json"]\nolder_than = "1d"\ncron = "@daily"\n'
    tree.write_config(jobs)
    tree.log("2026-01-01.csv")
    tree.log("b.json", b"{}" * 999, age=90_000)
    slip = f"expire.old: {tree.logs}/archvie/*.x: {tree.logs}/archvie does not exist"
    assert warnings(tree) == [slip]
    assert tree.do("archive.old", "compress.old").code == 0
    assert warnings(tree) == [slip]
    tree.write_config(jobs.replace("*.csv", "*.cvs").replace("*.json", "*.jsno"))
    assert len(warnings(tree)) == 4


@pytest.mark.parametrize(
    ("other", "is_warned"),
    [
        ('[expire.x]\npaths = ["LOGS/**/*.zst"]\nkeep_last = 3\n', True),
        ('[expire.x]\npaths = ["LOGS/**/*.zst"]\nexclude = ["LOGS/archive/**"]\nkeep_last = 3\n', False),
        ('[expire.x]\npaths = ["LOGS/**/*.csv"]\nkeep_last = 3\n', False),
        ('[compress.x]\npaths = ["LOGS/archive/*"]\nolder_than = "1d"\n', True),
        ('[rotate.x]\npaths = ["LOGS/archive/*"]\n', True),
        ('[archive.x]\npaths = ["LOGS/**/*"]\nto = "HERE/other"\nolder_than = "1d"\n', True),
        ('[archive.x]\npaths = ["LOGS/**/*"]\nto = "HERE/other"\nolder_than = "1d"\nkeep_originals = true\n', False),
        ('[archive.x]\npaths = ["LOGS/**/*"]\nto = "LOGS/archive"\nolder_than = "1d"\n', False),
    ],
)
def test_patterns_that_name_what_lies_in_an_archive(tree, supervise, other, is_warned):
    """What another job would take out of an archive, or change there, is warned of before the first file lies in it."""
    supervise()
    tree.write_config(f'{ARCHIVE}{other}cron = "@daily"\n')
    for is_empty in (True, False):
        tree.log("2026-01-01.csv")
        (tree.logs / "archive").mkdir(exist_ok=True)
        said = [warning for warning in warnings(tree) if "lies in the archive of archive.old" in warning]
        assert len(said) == is_warned, (is_empty, said)
        assert tree.do("archive.old").code == 0


def test_an_archive_inside_its_own_patterns_is_left_alone(tree, supervise):
    """A job whose patterns name its own archive takes nothing out of it, run after run, and check says nothing."""
    supervise()
    tree.write_config(ARCHIVE.replace("*.csv", "*").replace('older_than = "30d"', 'older_than = "0s"'))
    tree.log("2026-01-01.csv")
    assert tree.do().code == 0
    kept = tree.names()
    assert "archive/2026-01-01.csv.zst" in kept
    assert tree.do().code == 0
    assert tree.names() == kept
    assert [warning for warning in warnings(tree) if "archive" in warning] == []


def settle(tree: Tree, state_dir: str) -> None:
    """Gives the tree's config another state_dir."""
    config = Path(tree.config)
    given = re.sub(r'state_dir = ".*"', f'state_dir = "{state_dir}"', config.read_text(), count=1)
    config.write_text(given)


@pytest.mark.parametrize("where", ["HERE/plain", "HERE/plain/none/state", "/proc/none/state"])
def test_a_state_dir_that_ends_the_daemon_is_told_by_check_and_by_run(tree, where):
    """Where state_dir cannot be a directory, `check` warns and makes nothing; `run` names the key and ends with 1."""
    (tree.folder / "plain").touch()
    where = where.replace("HERE", str(tree.folder))
    settle(tree, where)
    before = sorted(tree.folder.rglob("*"))
    checked = tree.run("check", "--strict")
    assert checked.returncode == 3
    assert f"maintd.toml:2:1: warning: daemon.state_dir: {where} " in checked.stderr
    assert "maintd run would end at once" in checked.stderr
    assert sorted(tree.folder.rglob("*")) == before
    ran = tree.run("run")
    assert ran.returncode == 1
    assert f"cannot use state_dir {where}: " in ran.stderr
    assert "set state_dir under [daemon]" in ran.stderr


def test_a_state_dir_that_others_may_enter_or_that_is_not_maintds_own_is_told(tree):
    """A state_dir of mode 0755, or with other files in it, is a warning each; maintd's own one is none."""
    assert tree.run("do", "--all").returncode == 0
    assert "state_dir" not in tree.run("check").stderr
    (tree.folder / "state").chmod(0o755)
    assert "may be entered or read by other users" in tree.run("check").stderr
    (tree.folder / "state").chmod(0o700)
    (tree.folder / "state/notes.txt").touch()
    assert "holds what is not maintd's (notes.txt)" in tree.run("check").stderr
