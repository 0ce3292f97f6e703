"""maintd-logrotate and `maintd logrotate` take logrotate's command line: options, exit codes, streams, the lock."""

import contextlib
import fcntl
import os
import re
import select
import socket
import subprocess
import syslog
import tempfile
from pathlib import Path

import pytest

from maintd.logrotate.commandline import STATE, Answer, Order, parse
from tests.conftest import environment, snapshot

from .beside import EXECUTABLE, NOBODY, Did, Forks, ours
from .original import PROGRAM, needed

VERB = ["maintd", "logrotate"]
NAME = ["maintd-logrotate"]

# what is given, and what comes of it
ORDERS = [
    (["c"], Order(configs=("c",))),
    (["-d", "c"], Order(configs=("c",), debug=True, verbose=True)),
    (["c", "-dfv", "d"], Order(configs=("c", "d"), debug=True, force=True, verbose=True)),
    (["-s", "x", "c"], Order(configs=("c",), state="x")),
    (["-sx", "c"], Order(configs=("c",), state="x")),
    (["-s=x", "c"], Order(configs=("c",), state="x")),
    (["-vs", "x", "c"], Order(configs=("c",), state="x", verbose=True)),
    (["--state", "x", "c"], Order(configs=("c",), state="x")),
    (["--state=x", "c"], Order(configs=("c",), state="x")),
    (["--state=", "c"], Order(configs=("c",), state="")),
    (["-m", "y", "--log=z", "c"], Order(configs=("c",), mail="y", log="z")),
    (["--skip-state-lock", "--wait-for-state-lock", "c"], Order(configs=("c",), skips_lock=True, waits_for_lock=True)),
    (["--debug", "--force", "--verbose", "-"], Order(configs=("-",), debug=True, force=True, verbose=True)),
    (["-v", "--", "-c"], Order(configs=("-c",), verbose=True)),
]
# what is given, how it ends; to stdout if that is 0
ANSWERS = [
    (["--version"], 0), (["--usage"], 0), (["--help"], 0), (["-?"], 0), (["-v?"], 0), (["-?x"], 0), ([], 1),
    (["-d"], 1), (["-h"], 2), (["--foo"], 2), (["-s"], 2), (["-m"], 2), (["--sta", "s", "c"], 2), (["-dfvx", "c"], 2),
    (["--debug=1", "c"], 2), (["--d", "c"], 2), (["--s=x", "c"], 2), (["-x", "--version"], 2),
]  # fmt: skip


def config(folder: Path, text: str) -> Path:
    path = folder / "c"
    path.write_text(text.replace("L/", f"{folder}/"))
    path.chmod(0o644)
    return path


def run(command: list[str], *arguments: str | Path) -> Did:
    """Runs one of ours, by its name, or another program, by its path."""
    if command in (NAME, VERB):
        return Forks.of_this_process().run(*command, *arguments)
    argv = [*command, *map(str, arguments)]
    done = subprocess.run(argv, capture_output=True, text=True, env=environment(), check=False, timeout=60)
    return Did(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(("arguments", "order"), ORDERS)
def test_options_are_read_as_logrotate_reads_them(arguments: list[str], order: Order):
    """Short options come together or with their value, long ones with or without =, anywhere before --."""
    assert parse(arguments, "1.0") == order
    assert Order().state == STATE


@pytest.mark.parametrize(("arguments", "code"), ANSWERS)
def test_questions_and_mistakes(arguments: list[str], code: int):
    """What asks for help gets it, and what is wrong is named with exit code 2."""
    answer = parse(arguments, "1.0")
    assert isinstance(answer, Answer)
    assert answer.code == code
    assert answer.text


@needed
@pytest.mark.parametrize("arguments", [given for given, _ in ANSWERS])
def test_answers_go_where_those_of_logrotate_go(arguments: list[str]):
    """The exit code, and whether stdout or stderr is written, are those of logrotate."""
    theirs, mine = run([str(PROGRAM)], *arguments), run(NAME, *arguments)
    assert (mine.code, bool(mine.stdout)) == (theirs.code, bool(theirs.stdout))
    assert bool(mine.stderr) == bool(theirs.stderr.replace("warning: logrotate in debug mode", ""))


@pytest.mark.parametrize("command", [VERB, NAME])
def test_debug_changes_nothing(tmp_path: Path, command: list[str]):
    """-d shows each log with why it is due, and every step with its names, and leaves all as it is."""
    path = config(tmp_path, "L/a L/b {\nrotate 1\ndaily\ncompress\ncreate\npostrotate\ntouch L/ran\nendscript\n}\n")
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "a.1.gz").write_text("1\n")
    before = snapshot(tmp_path)
    done = run(command, "-d", "-f", "-s", tmp_path / "s", path)
    assert snapshot(tmp_path) == before
    assert (done.code, done.stdout) == (1, "")
    for expected in (
        f"{tmp_path}/a: is rotated: it was asked for",
        f"{tmp_path}/b: is not rotated: stat of {tmp_path}/b failed",
        f"rename {tmp_path}/a.1.gz → a.2.gz",
        f"rotate {tmp_path}/a → a.1 ",
        f"run {tmp_path}/a → postrotate",
        f"compress {tmp_path}/a.1 → a.1.gz",
        f"delete {tmp_path}/a.2.gz ",
    ):
        assert expected in done.stderr


def test_complaints_name_file_and_line(tmp_path: Path):
    """What is wrong in a config is told with its place, the rest of it is done, and the exit code is 1."""
    path = config(tmp_path, "wrong\nL/a {\nrotate x\n}\nL/b {\nrotate 1\n}\n")
    for name in "ab":
        (tmp_path / name).write_text("x\n")
    done = run(NAME, "-f", "-s", tmp_path / "s", path)
    assert (done.code, done.stdout) == (1, "")
    assert f"error: {path}:1 unknown option 'wrong'" in done.stderr
    assert f"error: {path}:3 bad rotation count 'x'" in done.stderr
    assert sorted(found.name for found in tmp_path.iterdir()) == ["a", "b.1", "c", "s"]


def test_it_is_silent_unless_asked(tmp_path: Path):
    """A run that goes well says nothing; -v says what was done and why, on stderr."""
    path = config(tmp_path, "L/a {\nrotate 1\nsize 1\n}\n")
    log = tmp_path / "a"
    log.write_text("a\n")
    done = run(NAME, "-s", tmp_path / "s", path)
    assert (done.code, done.stdout, done.stderr) == (0, "", "")
    log.write_text("b\n")
    done = run(NAME, "-v", "-s", tmp_path / "s", path)
    assert (done.code, done.stdout) == (0, "")
    assert f"{log}: rotated to a.1: it has 2 B, size is 1 B" in done.stderr


@pytest.mark.parametrize("program", [pytest.param([str(PROGRAM)], marks=needed), NAME])
def test_a_log_gets_all_and_is_made_anew(tmp_path: Path, program: list[str]):
    """-l writes there what -v would show, over what is there, also where nothing is shown; scripts have it as 3."""
    path = config(tmp_path, "L/a {\nrotate 1\npostrotate\necho out; echo err >&2; echo three >&3\nendscript\n}\n")
    (tmp_path / "a").write_text("a\n")
    (tmp_path / "said").write_text("of before\n")
    done = run(program, "-f", "-s", tmp_path / "s", "-l", tmp_path / "said", path)
    assert (done.code, done.stdout, done.stderr) == (0, "out\n", "err\n")
    said = (tmp_path / "said").read_text()
    assert "of before" not in said
    assert "three\n" in said
    assert f"{tmp_path}/a" in said


@pytest.mark.parametrize("program", [pytest.param([str(PROGRAM)], marks=needed), NAME])
@pytest.mark.parametrize("name", ["no/said", ""])
def test_a_log_that_cannot_be_written(tmp_path: Path, program: list[str], name: str):
    """It is said that -l names no file, and all else is done as if there were no -l."""
    path = config(tmp_path, "L/a {\nrotate 1\n}\n")
    (tmp_path / "a").write_text("a\n")
    where = f"{tmp_path}/{name}" if name else ""
    done = run(program, "-f", "-s", tmp_path / "s", "-l", where, path)
    assert (done.code, (tmp_path / "a").exists()) == (0, False)
    assert f"error opening log file {where}: No such file or directory" in done.stderr


OWN_DEV = 'mount -t tmpfs none /dev; mknod -m 666 /dev/null c 1 3; ln -s "$0" /dev/log; exec "$@"'


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a /dev of its own")
@pytest.mark.parametrize("program", [pytest.param(str(PROGRAM), marks=needed), str(EXECUTABLE)])
def test_syslog_gets_what_a_log_would(tmp_path: Path, program: str):
    """-l syslog sends there what -l would write to a file, errors as such, from logrotate as its name."""
    path = config(tmp_path, "L/a {\nrotate 1\n}\nL/none {\n}\n")
    (tmp_path / "a").write_text("a\n")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(str(tmp_path / "log"))
        argv = ["unshare", "--mount", "/bin/sh", "-ec", OWN_DEV, str(tmp_path / "log")]
        argv += [program, "-f", "-l", "syslog", "-s", str(tmp_path / "s"), str(path)]
        lines = []
        with subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=environment()) as running:
            while select.select([heard], [], [], 0.1)[0] or running.poll() is None:
                with contextlib.suppress(BlockingIOError):
                    lines.append(heard.recv(4096, socket.MSG_DONTWAIT).decode())
            told = running.communicate(timeout=10)[1]
    if not lines and "mount" in told:
        pytest.skip(f"no mounts here: {told}")
    assert (running.returncode, (tmp_path / "a.1").exists()) == (1, True)
    assert all("logrotate" in line for line in lines)
    assert any(f"{tmp_path}/a" in line for line in lines)
    said = [re.match(r"<(\d+)>", line) for line in lines if f"stat of {tmp_path}/none failed" in line]
    assert syslog.LOG_ERR in {int(found[1]) % 8 for found in said if found}


def test_a_locked_state_ends_with_3(tmp_path: Path):
    """While another run holds the state file, nothing is done; without the lock, or when it is free, it is."""
    path = config(tmp_path, "L/a {\nrotate 1\n}\n")
    log, state = tmp_path / "a", tmp_path / "s"
    log.write_text("a\n")
    state.write_text("logrotate state -- version 2\n")
    state.chmod(0o640)
    with state.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = run(NAME, "-f", "-s", state, path)
        assert (done.code, done.stdout, log.exists()) == (3, "", True)
        assert f"state file {state} is already locked" in done.stderr
        argv = [str(EXECUTABLE), "-f", "--wait-for-state-lock", "-s", str(state), str(path)]
        waiting = subprocess.Popen(argv, stderr=subprocess.PIPE, env=environment())
        assert run(NAME, "-f", "--skip-state-lock", "-s", tmp_path / "t", path).code == 0
        assert (tmp_path / "a.1").read_text() == "a\n"
        log.write_text("b\n")
        assert waiting.poll() is None
    assert waiting.communicate(timeout=60) == (None, b"")
    assert (waiting.returncode, (tmp_path / "a.1").read_text()) == (0, "b\n")


def test_a_state_file_that_cannot_be(tmp_path: Path):
    """Where no state file can be made nothing is done, and the exit code is 3."""
    path = config(tmp_path, "L/a {\nrotate 1\n}\n")
    (tmp_path / "a").write_text("a\n")
    done = run(NAME, "-f", "-s", tmp_path / "no" / "s", path)
    assert (done.code, done.stdout, (tmp_path / "a").exists()) == (3, "", True)
    assert done.stderr.startswith("error: ")


def test_what_a_script_prints_is_seen(tmp_path: Path):
    """A script runs where maintd was called, in its environment, and what it prints is not swallowed."""
    path = config(tmp_path, "L/a {\nrotate 1\npostrotate\necho said $MARK; pwd; seq 2000\nendscript\n}\n")
    (tmp_path / "a").write_text("a\n")
    argv = [str(EXECUTABLE), "-f", "-s", str(tmp_path / "s"), str(path)]
    env = environment(MARK="here")
    done = subprocess.run(argv, capture_output=True, text=True, env=env, cwd=tmp_path, check=False, timeout=60)
    lines = (done.stdout + done.stderr).splitlines()
    assert (done.returncode, lines[:2], len(lines)) == (0, ["said here", os.path.realpath(tmp_path)], 2002)


def test_the_version_names_the_program():
    """--version says which program this is, and its defaults."""
    done = run(VERB, "--version")
    assert done.code == 0
    assert re.match(r"maintd-logrotate \d+\.\d+\.\d+\n", done.stdout)
    assert STATE in done.stdout


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: works as other users")
@pytest.mark.parametrize(
    ("su", "code"), [("", 0), ("su nobody nogroup", 0), ("su root root", 1), ("su nobody root", 1)]
)
def test_who_is_not_root_cannot_work_as_another(su: str, code: int):
    """As in logrotate, su is an error then, unless it names who runs it; the log stays, and is not said to be done."""
    with tempfile.TemporaryDirectory(prefix="maintd-") as name:
        folder = Path(name)
        path = config(folder, f"L/a {{\nrotate 1\ncreate 600\n{su}\n}}\n")
        (folder / "a").write_text("a\n")
        for each in (folder, path, folder / "a"):
            os.chown(each, NOBODY, NOBODY)
        done = ours("-f", "-s", folder / "s", path, uid=NOBODY)
        assert (done.code, done.stdout, bool(done.stderr)) == (code, "", bool(code)), done.stderr
        assert (folder / "a.1").exists() != bool(code)
        if PROGRAM is not None:
            argv = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", PROGRAM, "-f", "-s"]
            theirs = subprocess.run([*argv, folder / "t", path], capture_output=True, check=False, timeout=20)
            assert theirs.returncode == code


@needed
def test_a_state_in_the_future_is_an_error_that_is_told(tmp_path: Path):
    """It is said on standard error without -v as well, and the log is rotated, as logrotate does."""
    found = []
    for command in ([str(PROGRAM)], NAME):
        path = config(tmp_path, "L/a {\ndaily\n}\n")
        (tmp_path / "a").write_text("x\n")
        (tmp_path / "s").write_text(f'logrotate state -- version 2\n"{tmp_path}/a" 2099-1-1-1:1:1\n')
        (tmp_path / "s").chmod(0o640)
        done = run(command, "-s", tmp_path / "s", path)
        found.append((done.code, done.stderr, (tmp_path / "a").exists()))
    assert found[0] == found[1]
    assert found[0][1].startswith("error: ")


@needed
def test_a_state_file_that_cannot_be_made_is_said_in_words(tmp_path: Path):
    """The message, the stream and the exit code are those of logrotate, and nothing is rotated."""
    path = config(tmp_path, "L/a {\nrotate 1\n}\n")
    (tmp_path / "a").write_text("x\n")
    found = [run(command, "-f", "-s", tmp_path / "none" / "s", path) for command in ([str(PROGRAM)], NAME)]
    assert (found[1].code, found[1].stdout, found[1].stderr) == (found[0].code, found[0].stdout, found[0].stderr)
    assert (tmp_path / "a").exists()


@needed
@pytest.mark.parametrize(
    "state", ["logrotate state -- version 2", 'logrotate state -- version 2\n"L/a" 2026-1-1-1:1:1']
)
def test_a_state_file_that_is_cut_off_makes_the_exit_code_1(tmp_path: Path, state: str):
    """A last line without an end is told, as by logrotate."""
    found = []
    for command in ([str(PROGRAM)], NAME):
        path = config(tmp_path, "L/a {\nrotate 2\n}\n")
        (tmp_path / "a").write_text("x\n")
        (tmp_path / "s").write_text(state.replace("L/", f"{tmp_path}/"))
        (tmp_path / "s").chmod(0o640)
        done = run(command, "-f", "-s", tmp_path / "s", path)
        found.append((done.code, done.stderr, (tmp_path / "a").exists()))
    assert found[0] == found[1]
