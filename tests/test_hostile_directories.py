"""Root's work in directories that services can write: the usual ones work, as whom, and what is a trap is refused."""

import json
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from backports import zstd

from maintd import grounds, linux, trust
from maintd.names import parse_archive
from maintd.steps import Seen

from .conftest import environment, until
from .tree import MAINTD, NOBODY, Did, Tree, content

DAEMON, ADM = 1, 4  # another user, and a group
ROTATE = '[rotate.all]\npaths = ["LOGS/*.log"]\ncron = "@daily"\nkeep = 1\n'

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root has something that could be misled")
needs_landlock = pytest.mark.skipif(not linux.landlock_abi(), reason="this kernel has no Landlock")
needs_setpriv = pytest.mark.skipif(not Path("/usr/bin/setpriv").exists(), reason="needs setpriv, of util-linux")


@pytest.fixture
def tree(tmp_path):
    return Tree(tmp_path, ROTATE)


def give(path: Path, uid: int, gid: int | None = None, mode: int | None = None) -> Path:
    os.chown(path, uid, uid if gid is None else gid)
    if mode is not None:
        path.chmod(mode)
    return path


def owned(path: Path) -> tuple[int, int, int]:
    info = path.lstat()
    return info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode)


# What is usual

PLACES = {
    "a root-owned log in an application's directory": ((NOBODY, NOBODY, 0o755), (0, 0, 0o644)),
    "an application's log in its own directory": ((NOBODY, NOBODY, 0o750), (NOBODY, NOBODY, 0o640)),
    "its log of another group": ((NOBODY, NOBODY, 0o755), (NOBODY, ADM, 0o640)),
    "its log in root's directory": ((0, 0, 0o755), (NOBODY, NOBODY, 0o640)),
    "syslog:adm in root:syslog 0775": ((0, ADM, 0o775), (NOBODY, ADM, 0o640)),
    "world-writable and sticky": ((0, 0, 0o1777), (NOBODY, NOBODY, 0o600)),
    "world-writable": ((0, 0, 0o777), (NOBODY, NOBODY, 0o644)),
    "another's in a group-writable one": ((NOBODY, ADM, 0o2775), (DAEMON, ADM, 0o664)),
    "its log that it may not read": ((NOBODY, NOBODY, 0o755), (NOBODY, NOBODY, 0o200)),
}


@pytest.mark.parametrize("olddir", ["", 'olddir = "old"\n'])
def test_the_usual_directories_need_no_option(tree, olddir):
    """Logs are rotated, compressed and expired there, and what is made has owner, group and mode of the log."""
    tree.write_config(ROTATE.replace("LOGS", "LOGS/*") + olddir)
    for number, (folder, file) in enumerate(PLACES.values()):
        (tree.logs / str(number)).mkdir()
        give(tree.logs / str(number), *folder)
        for data in (b"first\n", b"second\n"):
            give(tree.log(f"{number}/{len(data)}.log", data), *file)
    for _ in range(2):
        done = tree.do()
        assert done.code == 0, done
        for path in tree.logs.glob("*/*.log"):
            with path.open("ab") as log:
                log.write(b"a line\n")
    for number, (place, (folder, file)) in enumerate(PLACES.items()):
        archives = list((tree.logs / str(number)).rglob("*.zst"))
        logs = list((tree.logs / str(number)).glob("*.log"))
        assert (len(logs), len(archives)) == (2, 2), place
        assert [owned(path) for path in (*logs, *archives)] == [file] * 4, place
        if olddir:
            made = owned(tree.logs / str(number) / "old")
            assert (made[0], made[1], made[2] & 0o777) == (folder[0], folder[1], folder[2] & 0o777), place
    assert tree.temporaries() == []


def test_a_new_log_gets_the_configured_owner(tree):
    """Root gives a new log in an application's directory to whomever the job says."""
    tree.write_config(ROTATE + f'owner = "{DAEMON}"\ngroup = "{ADM}"\nmode = "0640"\n')
    give(tree.logs, NOBODY)
    give(tree.log("a.log"), NOBODY)
    assert tree.do().code == 0
    assert owned(tree.logs / "a.log") == (DAEMON, ADM, 0o640)


# As whom

HOOK = """
import json, os, sys
RECORD = os.open({record!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
def note(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & os.O_CREAT or event == "os.remove":
        path = arguments[0]
        os.write(RECORD, json.dumps([str(path), os.geteuid(), os.getpid(), os.getppid()]).encode() + b"\\n")
sys.addaudithook(note)
"""


@pytest.fixture
def record(tmp_path) -> Callable[[], list[tuple[str, int, int, int]]]:
    """(name, uid, pid, parent) of each file that a process of maintd with HOOKED has made or removed."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(HOOK.format(record=str(tmp_path / "record")))
    return lambda: [tuple(json.loads(line)) for line in (tmp_path / "record").read_text().splitlines()]


def run(tree: Tree, *arguments: str, before: tuple[str, ...] = (), **options: object) -> subprocess.Popen[bytes]:
    command = [*before, str(MAINTD), "-c", str(tree.config), *arguments]
    env = environment(PYTHONPATH=str(tree.folder / "site"), PYTHONDONTWRITEBYTECODE="1")
    return subprocess.Popen(command, env=env, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)


def test_who_does_the_work(tree, record):
    """In root's directory root, in the process itself; where others can write a child, as who owns it all, or root."""
    tree.write_config(ROTATE.replace("LOGS", "LOGS/*"))
    expected = {(0, 0): (0, False), (0, NOBODY): (0, False), (NOBODY, NOBODY): (NOBODY, True), (NOBODY, 0): (0, True)}
    for folder, file in expected:
        give(tree.log(f"{folder}-{file}/{folder}-{file}.log"), file)
        give(tree.logs / f"{folder}-{file}", folder)
    process = run(tree, "do", "--all")
    assert process.communicate()[0]
    assert process.returncode == 0
    made = record()
    for (folder, file), (uid, is_apart) in expected.items():
        found = [(by, pid) for name, by, pid, _ in made if name.startswith(f"{folder}-{file}.log.")]
        assert len(found) >= 3  # the new log, the compressed copy, and the removed original
        assert {by for by, _ in found} == {uid}
        assert (found[0][1] != process.pid) is is_apart


def test_the_child_for_it_is_kept_for_the_next_run(tree, record):
    """In a daemon the rotations that follow one another soon share the child, and SIGTERM leaves none."""
    tree.write_config('[rotate.all]\npaths = ["LOGS/*.log"]\nmax_size = "1K"\ncompress = "none"\n')
    give(tree.logs, NOBODY)
    daemon = run(tree, "run")
    try:
        for count in (1, 2, 3):
            log = tree.log("a.log", b"a line\n" * 1000)
            give(log, 0)
            until(lambda: len(list(tree.logs.glob("a.log.*Z*"))) == count, f"rotation {count}")  # noqa: B023
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.communicate(timeout=10)
    made = [(pid, parent) for name, _, pid, parent in record() if name == "a.log.maintd-tmp"]
    assert len({pid for pid, _ in made}) == 3
    assert len({parent for _, parent in made}) == 1
    assert not os.path.exists(f"/proc/{made[0][1]}")


# What is refused


def refused(tree: Tree, event: str = "rotate.refused") -> str:
    """The reason of the one refusal, which plan shows too, and after which nothing has changed."""
    before = {path: (owned(path), path.stat().st_ino) for path in tree.logs.rglob("*")}
    planned = [step["reason"] for step in tree.plan() if step["step"] == "finding"]
    found = tree.do().event(event)
    assert any(found["reason"] in reason and found["advice"] in reason for reason in planned)
    assert {path: (owned(path), path.stat().st_ino) for path in tree.logs.rglob("*")} == before
    return found["reason"]


def test_a_log_with_another_name_is_refused(tree):
    """A hard link may be somebody's way to have root change the file that it also is."""
    os.link(tree.log("a.log"), tree.folder / "elsewhere")
    assert refused(tree) == "it has 2 names (hard links)"


def test_an_archive_with_another_name_is_neither_compressed_nor_deleted(tree):
    """Archives with hard links are left alone, with the reason; the others go."""
    for day, name in ((1, "linked"), (2, "gone"), (3, "kept")):
        path = tree.log(f"a.log.2026010{day}T000000Z.zst", name.encode())
        if name == "linked":
            os.link(path, tree.folder / "elsewhere")
    os.link(tree.log("b.log.20260101T000000Z"), tree.folder / "other")
    done = tree.do()
    left = {event["target"]: event["reason"] for event in done.events("file.refused")}
    assert left == dict.fromkeys(
        [f"{tree.logs}/a.log.20260101T000000Z.zst", f"{tree.logs}/b.log.20260101T000000Z"],
        "it has 2 names (hard links)",
    )
    assert [event["target"] for event in done.events("log.expired")] == [f"{tree.logs}/a.log.20260102T000000Z.zst"]


def test_a_linked_file_is_not_compressed(tree):
    """The kind `compress` leaves it alone too."""
    tree.write_config('[compress.all]\npaths = ["LOGS/*.csv"]\ncron = "@daily"\nolder_than = "1h"\n')
    os.link(tree.log("a.csv", age=1e6), tree.folder / "elsewhere")
    assert refused(tree, "file.refused") == "it has 2 names (hard links)"


def test_a_set_id_log_is_refused(tree):
    """No new file gets the set-user-ID bit of the one before it. What chmod -R g+s leaves on a log is no such bit."""
    tree.log("a.log").chmod(0o4755)
    assert refused(tree) == "it has a set-id bit"
    (tree.logs / "a.log").chmod(0o2664)
    assert tree.do().code == 0


def test_a_strangers_log_is_refused_unless_the_job_expects_it(tree):
    """A file of who cannot write the directory may have been moved there; `owner` says that it is right."""
    give(tree.logs, NOBODY)
    give(tree.log("a.log"), DAEMON)
    assert refused(tree) == "it belongs to daemon, who cannot write its directory: nobody may have moved it there"
    tree.write_config(ROTATE + 'owner = "daemon"\n')
    assert tree.do().code == 0


@pytest.mark.parametrize("link", ["old", "logs"])
def test_a_link_of_an_application_leads_root_nowhere(tree, link):
    """Neither olddir nor the directory in `paths` may be a link to another's directory, made where others can write."""
    target = tree.folder / "root"
    target.mkdir()
    (target / "a.log").write_text("root's own\n")
    (target / "a.log").chmod(0o600)
    app = tree.folder / "app"
    app.mkdir()
    if link == "old":
        (app / "logs").mkdir()
        give(app / "logs", NOBODY)
        (app / "logs/a.log").write_text("line\n")
        (app / "logs/old").symlink_to(target)
    else:
        (app / "logs").symlink_to(target)
    os.chown(app / "logs", NOBODY, NOBODY, follow_symlinks=False)
    give(app, NOBODY)
    paths = ROTATE.replace("LOGS", f"{app}/logs")
    tree.write_config(paths + ('olddir = "old"\n' if link == "old" else ""))
    done = tree.do()
    assert done.code == (1 if link == "logs" else 5), done
    reason = done.messages[0].get("reason") or done.messages[0]["error_msg"]
    assert "symbolic link" in reason
    assert os.listdir(target) == ["a.log"]
    assert (target / "a.log").read_text() == "root's own\n"
    assert not list(app.rglob("*Z*"))


SWAPS = """
import ctypes, os, sys
os.chdir(sys.argv[1])
os.setresuid(65534, 65534, 65534)
libc, here = ctypes.CDLL(None), ctypes.c_int(-100)
print("swapping", flush=True)
while True:
    libc.renameat2(here, b"logs", here, b"link", ctypes.c_uint(2))
"""


def test_a_directory_that_becomes_a_link_meanwhile_is_no_error(tree):
    """Nobody ends what looks for logs by exchanging a directory with a link, nor leads it anywhere."""
    app = tree.folder / "app"
    (app / "logs").mkdir(parents=True)
    (app / "link").symlink_to("/etc")
    for path in (app, app / "logs"):
        give(path, NOBODY)
    os.chown(app / "link", NOBODY, NOBODY, follow_symlinks=False)
    command = [sys.executable, "-IS", "-c", SWAPS, str(app)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as swapper:
        try:
            assert swapper.stdout
            assert swapper.stdout.readline() == "swapping\n"
            found = {grounds.resolve(f"{app}/logs") for _ in range(20_000)}
            real = {grounds.real(f"{app}/logs") for _ in range(20_000)}
        finally:
            swapper.kill()
    assert found == {f"{app}/logs"}
    assert real == {f"{app}/logs", "/etc"}


def test_links_of_root_and_to_ones_own_are_followed(tree):
    """Root's link among root's directories, and an application's to a directory of its own, are as good as those."""
    app, big = tree.folder / "app", tree.folder / "big"
    for path in (app, big, big / "app"):
        path.mkdir()
    give(big / "app", NOBODY)
    (app / "logs").symlink_to(big / "app")
    os.chown(app / "logs", NOBODY, NOBODY, follow_symlinks=False)
    give(app, NOBODY)
    (tree.folder / "here").symlink_to(app)
    give(tree.log("../big/app/a.log"), NOBODY)
    tree.write_config(ROTATE.replace("LOGS", f"{tree.folder}/here/logs"))
    assert tree.do().code == 0
    assert len(list((big / "app").glob("a.log.*.zst"))) == 1


@needs_landlock
def test_roots_directory_in_an_applications_is_worked_on_fenced(tree):
    """Its owner could put another of root's directories in its place; fenced, root does no harm in either."""
    app = tree.folder / "app"
    (app / "logs").mkdir(parents=True)
    (app / "logs/a.log").write_text("line\n")
    give(app, NOBODY)
    tree.write_config(ROTATE.replace("LOGS", f"{app}/logs"))
    assert tree.do().code == 0
    assert len(list((app / "logs").glob("a.log.*.zst"))) == 1


def test_olddir_is_not_made_for_a_user_in_anothers_directory(tree):
    """Who could exchange the new directory before it gets its owner could have any of root's given away."""
    other = tree.folder / "other"
    other.mkdir()
    give(other, DAEMON)
    give(tree.logs, NOBODY)
    give(tree.log("a.log"), NOBODY)
    tree.write_config(ROTATE + f'olddir = "{other}/old"\n')
    assert "where daemon could put another one in its place" in refused(tree)
    assert list(other.iterdir()) == []


# Where anybody may make files with names of archives


@pytest.fixture
def sticky(tree) -> Tree:
    """A world-writable directory with a log of nobody's."""
    give(tree.logs, 0, mode=0o1777)
    give(tree.log("a.log"), NOBODY)
    return tree


def planted(tree: Tree, *stamps: str, uid: int = DAEMON) -> list[str]:
    """Small files that a user has given names of archives."""
    return [give(tree.log(f"a.log.{stamp}", b"x"), uid).name for stamp in stamps]


def stamp(seconds: float = 0) -> str:
    return f"{datetime.now(UTC) + timedelta(seconds=seconds):%Y%m%dT%H%M%SZ}"


def expired(done: Did) -> list[str]:
    return [os.path.basename(event["target"]) for event in done.events("log.expired")]


def test_a_strangers_files_push_out_no_archive(sticky):
    """Files that another user has given names of archives count for no `keep` and no `max_total`, and are named."""
    sticky.write_config(ROTATE.replace("keep = 1", 'keep = 3\nmax_total = "1M"'))
    own = planted(sticky, *[f"2025010{day}T000000Z.zst" for day in (1, 2, 3)], uid=NOBODY)
    others = planted(sticky, *[f"2025020{day}T000000Z.zst" for day in (1, 2, 3)])
    os.truncate(sticky.logs / others[2], 2 << 20)
    planned = [step["reason"] for step in sticky.plan() if step["step"] == "finding"]
    done = sticky.do()
    assert done.code == 0, done
    assert expired(done) == own[:1]
    assert {*own[1:], *others} < set(sticky.names())
    event = done.event("file.refused")
    assert event["target"] == str(sticky.logs / others[0])
    assert event["reason"].startswith("it belongs to daemon, as do 2 more named so")
    assert planned == [f"left alone: {event['reason']}; {event['advice']}"]


def test_a_strangers_file_neither_puts_a_rotation_off_nor_dates_it(sticky):
    """Whether a log is due, and under which name it is set aside, is not up to another user's files."""
    planted(sticky, "20250101T000000Z.zst", uid=NOBODY)
    planted(sticky, stamp(-1), "99991231T235959Z.zst")
    done = sticky.run("do", "--all", "--due", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (target,) = [event["rotated_to"] for event in events if event.get("event") == "log.rotated"]
    assert parse_archive(os.path.basename(target)).stamp <= datetime.now(UTC)


@pytest.mark.parametrize("suffix", ["", ".zst", ".gz"])
def test_names_that_others_have_taken_are_stepped_over(sticky, suffix):
    """Where the names of all archives to come are taken, by files or directories, the next number is."""
    taken = [f"{stamp(seconds)}{suffix}" for seconds in range(60)]
    planted(sticky, *taken[::2])
    for name in taken[1::2]:
        (sticky.logs / f"a.log.{name}").mkdir()
    done = sticky.do()
    assert done.code == 0, done
    name = parse_archive(os.path.basename(done.event("log.rotated")["rotated_to"]))
    assert (name.n, name.stamp <= datetime.now(UTC)) == (1, True)
    assert len(done.events("log.compressed")) == 1


def test_a_strangers_copy_never_stands_for_an_archive(sticky):
    """An archive whose compressed name another user has taken, with the same content, is compressed beside it."""
    sticky.write_config(ROTATE.replace("keep = 1", "keep = 9"))
    (name,) = planted(sticky, "20260101T000000Z", uid=NOBODY)
    copy = give(sticky.log(f"{name}.zst", zstd.compress(b"x")), DAEMON)
    assert ("renumber", f"{name}-1") in [(step.get("verb"), step.get("detail")) for step in sticky.plan()]
    done = sticky.do()
    assert done.code == 0, done
    assert done.event("log.renumbered")["renamed_to"] == f"{sticky.logs}/{name}-1"
    assert not (sticky.logs / name).exists()
    made = sticky.logs / f"{name}-1.zst"
    assert (owned(made)[0], content(made)) == (NOBODY, b"x")
    assert (owned(copy)[0], content(copy)) == (DAEMON, b"x")


def test_a_strangers_copy_made_after_the_plan_leaves_the_archive(sticky):
    """One that comes between plan and compression fails that, and the next run compresses the archive beside it."""
    (name,) = planted(sticky, "20260101T000000Z", uid=NOBODY)
    (sticky.folder / "copy").write_bytes(zstd.compress(b"x"))
    plant = f"cp HERE/copy LOGS/{name}.zst && chown {DAEMON} LOGS/{name}.zst"
    config = ROTATE.replace("keep = 1", "keep = 9")
    sticky.write_config(config + f'before = ["/bin/sh", "-c", "{plant}"]\n')
    failed = sticky.do().event("compress.failed")
    assert (failed["error"], failed["target"]) == ("EEXIST", str(sticky.logs / name))
    assert (sticky.logs / name).read_bytes() == b"x"
    sticky.write_config(config)
    assert sticky.do().code == 0
    assert owned(sticky.logs / f"{name}-1.zst")[0] == NOBODY
    assert owned(sticky.logs / f"{name}.zst")[0] == DAEMON


def test_archives_of_a_log_that_is_missing_are_those_of_one_user(sticky):
    """Without the log its archives are worked on as long as one user has them all; with another's, none of theirs."""
    (sticky.logs / "a.log").unlink()
    own = planted(sticky, "20260101T000000Z.zst", "20260102T000000Z.zst", "20260103T000000Z.zst", uid=NOBODY)
    assert expired(sticky.do()) == own[:2]
    planted(sticky, "20260104T000000Z.zst", "20260105T000000Z.zst")
    done = sticky.do()
    assert (done.code, len(done.events("file.refused")), expired(done)) == (0, 2, []), done


def test_where_root_alone_can_write_archives_may_be_anybodys(tree):
    """In a directory that nobody else can write, archives of a user whose log it once was go as all do."""
    give(tree.log("a.log"), NOBODY)
    own = planted(tree, "20260101T000000Z.zst", "20260102T000000Z.zst")
    done = tree.do()
    assert (done.code, expired(done)) == (0, own), done


# What the rules say of a directory


@pytest.mark.parametrize(
    ("ways", "meddler"),
    [
        ([(0, 0o755)], ""),
        ([(0, 0o1777)], "anybody"),
        ([(0, 0o1777), (0, 0o755)], ""),
        ([(0, 0o1777), (NOBODY, 0o755)], "nobody"),
        ([(0, 0o777), (0, 0o755)], "anybody"),
        ([(0, 0o775), (0, 0o755)], "group 0"),
        ([(NOBODY, 0o755), (0, 0o755)], "nobody"),
    ],
)
def test_who_could_meddle_with_a_directory(tmp_path, ways, meddler):
    """A directory is as safe as the way to it; in a sticky one, root's entries are."""
    path = tmp_path
    for number, (uid, mode) in enumerate(ways):
        path = path / str(number)
        path.mkdir()
        give(path, uid, 0, mode)
    assert grounds.survey(str(path)).meddler == meddler


def test_a_group_or_user_that_may_not_be_become_leaves_root(tmp_path):
    """Work is done as the owner only if that can read the file and write all the directories."""
    give(tmp_path, NOBODY, mode=0o755)
    log = tmp_path / "a.log"
    log.touch()
    give(log, NOBODY, ADM, 0o640)
    seen = Seen.of(str(log), log.stat())
    found = trust.confinement([str(tmp_path)], seen)
    assert found
    assert (found.uid, found.gid, found.fenced) == (NOBODY, ADM, True)
    assert [trust.confinement([str(tmp_path)], seen, gid).gid for gid in (None, NOBODY)] == [ADM, NOBODY]
    tmp_path.chmod(0o555)
    assert trust.confinement([str(tmp_path)], seen).uid is None


# Kernels and containers that have less

FILTER = """
import ctypes, os, struct, sys
def deny(*numbers):
    code = [(0x20, 0, 0, 0)]
    for number in numbers:
        code += [(0x15, 0, 1, number), (0x06, 0, 0, 0x00050000 | 38)]
    code.append((0x06, 0, 0, 0x7FFF0000))
    raw = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *line) for line in code))
    program = struct.pack("HxxxxxxQ", len(code), ctypes.addressof(raw))
    assert ctypes.CDLL(None).prctl(22, 2, program, 0, 0) == 0
deny(*map(int, sys.argv[1].split(",")))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Has system calls fail with ENOSYS, as on a kernel that has none of them (seccomp(2))."""
LANDLOCK, OPENAT2 = "444", "437"


def without(calls: str) -> tuple[str, ...]:
    return (str(MAINTD.with_name("python")), "-c", FILTER, calls)


def do(tree: Tree, before: tuple[str, ...]) -> list[dict[str, object]]:
    """The events of a `maintd do` that was started so."""
    out = run(tree, "do", "--all", "--json", before=before).communicate()[0]
    assert b"Traceback" not in out, out
    return [found for line in out.splitlines() if (found := json.loads(line))["type"] == "event"]


@pytest.mark.parametrize("calls", [LANDLOCK, f"{LANDLOCK},{OPENAT2}"])
def test_older_kernels_rotate_in_an_applications_directory(tree, calls):
    """Without Landlock or openat2 the work is done by descriptors all the same, and no link is followed."""
    tree.write_config(ROTATE.replace("LOGS", "LOGS/*") + 'olddir = "old"\n')
    (tree.folder / "root").mkdir()
    for number, uid in enumerate((0, NOBODY, 0)):
        give(tree.log(f"{number}/a.log"), uid)
        give(tree.logs / str(number), NOBODY)
    (tree.logs / "2/old").symlink_to(tree.folder / "root")
    events = do(tree, without(calls))
    by_log = {event["target"].removeprefix(str(tree.logs))[:2]: event["event"] for event in events if "target" in event}
    assert by_log == {"/0": "log.compressed", "/1": "log.compressed", "/2": "rotate.refused"}, events
    assert os.listdir(tree.folder / "root") == []


def test_without_landlock_a_way_through_anothers_directory_is_refused(tree):
    """What could only be confined by Landlock is left alone, with the reason."""
    app = tree.folder / "app"
    (app / "logs").mkdir(parents=True)
    (app / "logs/a.log").write_text("line\n")
    give(app, NOBODY)
    tree.write_config(ROTATE.replace("LOGS", f"{app}/logs"))
    (event,) = do(tree, without(LANDLOCK))
    assert event["event"] == "rotate.refused"
    assert event["reason"].startswith(f"{app}/logs is root's, in a directory of nobody's")


def test_a_missing_landlock_is_told(tree):
    """`check` and the start of the daemon say that there is none, if it would be of use."""
    give(tree.logs, NOBODY)
    give(tree.log("a.log"), 0)
    out = run(tree, "check", before=without(LANDLOCK)).communicate()[0].decode()
    assert f"{tree.logs} can be written by others than root, and this kernel has no Landlock" in out
    assert "Landlock" not in run(tree, "check").communicate()[0].decode() or not linux.landlock_abi()
    daemon = run(tree, "run", before=without(LANDLOCK))
    assert json.loads(daemon.stdout.readline())["missing"] == "Landlock"
    daemon.send_signal(signal.SIGTERM)
    daemon.communicate(timeout=10)


def powerless(*capabilities: str) -> tuple[str, ...]:
    dropped = ",".join(f"-{name}" for name in capabilities)
    return ("setpriv", f"--bounding-set={dropped}", f"--inh-caps={dropped}")


@needs_setpriv
@pytest.mark.parametrize("lacking", ["lease", "sys_ptrace", "setuid", "sys_admin"])
def test_one_capability_less_does_not_matter(tree, lacking):
    """Without CAP_LEASE, or CAP_SYS_PTRACE, or the right to become others, a log that nobody holds is rotated whole."""
    tree.write_config(ROTATE.replace("LOGS", "LOGS/*"))
    for folder, file in ((0, 0), (NOBODY, NOBODY), (NOBODY, 0), (0, NOBODY)):
        give(tree.log(f"{folder}-{file}/a.log"), file)
        give(tree.logs / f"{folder}-{file}", folder)
    events = do(tree, powerless(lacking))
    assert [event["event"] for event in events] == ["log.rotated"] * 4 + ["log.compressed"] * 4 + ["job.finished"]


@needs_setpriv
def test_without_lease_and_ptrace_ones_own_goes_on_and_the_rest_is_refused_by_name(tree):
    """As in a container: root's logs are rotated; who writes another user's cannot be known."""
    give(tree.logs, NOBODY, mode=0o777)
    give(tree.log("a.log"), 0)
    give(tree.log("b.log"), NOBODY)
    give(tree.log("c.log.20260101T000000Z"), DAEMON, ADM)
    events = do(tree, powerless("lease", "sys_ptrace"))
    named = {(os.path.basename(event.get("target", ""))[:5], event["event"]): event for event in events}
    assert ("a.log", "log.rotated") in named, events
    assert ("a.log", "log.compressed") in named, events
    assert "CAP_SYS_PTRACE" in named["b.log", "rotate.refused"]["advice"]
    failed = named["c.log", "rotate.failed"]
    assert "CAP_LEASE" in failed["error_msg"]
    assert "CAP_SYS_PTRACE" in failed["error_msg"]
