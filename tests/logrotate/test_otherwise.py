"""Where maintd does to a tree of logs what Debian's logrotate does not do, on purpose: each case with its reason."""

import os
import re
from datetime import datetime
from pathlib import Path

import pytest

from .beside import DAEMON, GAMES, Case, Place, ours
from .original import needed
from .test_beside import PLAIN, stanza

pytestmark = [needed, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of several users")]

DIFFERS = {
    "what is no regular file is no log, and keeps its name (a device, too)": (
        Case("mkfifo a", stanza("", "L/a")), ["a.1"], ["a"]
    ),
    "an archive is not written over that an earlier run left uncompressed": (
        Case("echo a > a; echo x > a-$(date +%Y%m%d)", stanza("dateext\ncompress", "L/a")),
        ["a-TODAY.gz=a"], ["a=a", "a-TODAY.gz=x"],
    ),
    "what an interrupted renamecopy left is archived first, the log by the next run": (
        Case("echo a > a; echo old > a.tmp", stanza("renamecopy", "L/a")), ["a.1=a"], ["a=a", "a.1=old"]
    ),
    "of two logs with one archive name, one is not written over the other": (
        Case("mkdir d e o; echo a > d/a; echo b > e/a", stanza("olddir L/o\nsharedscripts", "L/d/a L/e/a")),
        ["d", "e", "o", "o/a.1=b"], ["d", "e", "e/a=b", "o", "o/a.1=a"],
    ),
    "a name with wildcards in it names itself only": (
        Case(
            "echo a > 'a[1]'; echo 1 > 'a[1]-20260101'; echo x > a1-20260102; echo y > a1-20260103",
            stanza("rotate 1\ndateext", "'L/a\\[1\\]'"),
        ),
        ["a[1]-20260101=1", "a[1]-TODAY=a"], ["a1-20260102=x", "a1-20260103=y", "a[1]-TODAY=a"],
    ),
    "who is named by su cannot give an olddir to another user: it is not made, and the log stays": (
        Case(
            "chown nobody:daemon .; echo a > a; chown nobody a",
            stanza("su nobody daemon\nolddir o\ncreateolddir 750 games", "L/a"),
        ),
        ["a=a", "o"], ["a=a"],
    ),
    "root makes no directory for another where a third one could exchange it": (
        Case("chown nobody .; echo a > a", stanza("olddir o\ncreateolddir 750 games", "L/a")), ["o", "o/a.1=a"], ["a=a"]
    ),
    "a link where an archive is to be is set aside, and not written over": (
        Case("echo a > a; ln -s /etc/passwd a.1; echo 1 | gzip > a.1.gz", stanza("compress", "L/a")),
        ["a.1.gz=a", "a.2.gz=1"], ["a.1-HOUR.backup", "a.1.gz=a", "a.2.gz=1"],
    ),
    "a log is rotated though what an earlier run left cannot be compressed, and that is not written over": (
        Case(
            "echo a > a; echo 2 > a.1",
            stanza("compress\ncompresscmd /bin/false\ncompressext .gz", "L/a"),
        ),
        ["a.1=a"], ["a.1=a", "a.1-HOUR.backup=2"],
    ),
    "what is mailed uncompressed goes as it is, and does not stay because it cannot be uncompressed": (
        Case(
            "echo a > a", stanza("rotate 0\ndateext\ncompress\ndelaycompress\nmail me@x", "L/a"),
            options=("-f", "-m", "HERE/mailer"),
        ),
        ["a-TODAY=a"], [],
    ),
    "whom su names may copy what he can read, though he cannot write it": (
        Case(
            "chown nobody:daemon .; echo a > a; chown root:daemon a; chmod 640 a",
            stanza("renamecopy\nsu nobody daemon", "L/a"),
        ),
        ["a.tmp=a"], ["a.1=a"],
    ),
    "a program with a set-id bit is no log": (Case("echo a > a; chmod 4755 a", stanza("", "L/a")), ["a.1=a"], ["a=a"]),
}  # fmt: skip


@pytest.mark.parametrize("why", DIFFERS)
def test_it_differs_on_purpose(place: Place, why: str):
    """What logrotate leaves, and what maintd leaves instead, for the reason that is named."""
    case, *wanted = DIFFERS[why]
    for did, names in zip(place.both(case), wanted, strict=True):
        found = [name + (f"={text.decode().strip()}" if isinstance(text, bytes) else "")
                 for name, (*_, text) in did.tree.items()]  # fmt: skip
        today = datetime.now().strftime("%Y%m%d")
        hour = datetime.now().strftime("%Y%m%d%H")
        names = [name.replace("TODAY", today).replace("HOUR", hour) for name in names]  # noqa: PLW2901 - the same ones
        assert sorted(found) == sorted(names), did.stderr


def test_an_olddir_without_a_mode_is_0755(place: Place):
    """logrotate 3.21 gives it all bits, set-id and sticky; newer ones say 0755, and so does maintd."""
    theirs, mine = place.both(Case("echo a > a", stanza("olddir o\ncreateolddir games daemon", "L/a")))
    assert (theirs.tree["o"][1], mine.tree["o"]) == (0o7777, ("d", 0o755, GAMES, DAEMON, ""))


def test_mailfirst_mails_once(place: Place):
    """What goes was mailed when it was new; logrotate mails it again if it goes early, against its manual."""
    files = "echo a > a; for day in 1 2 3; do echo $day > a-2026010$day; done"
    options = ("-f", "-m", "HERE/mailer")
    theirs, mine = place.both(Case(files, stanza("dateext\nmail me@x\nmailfirst", "L/a"), options=options))
    assert [line.split()[-1] for line in theirs.trace.splitlines()] == ["1", "a"]
    assert [line.split()[-1] for line in mine.trace.splitlines()] == ["a"]
    assert (mine.tree, mine.code) == (theirs.tree, theirs.code)


@pytest.mark.parametrize(
    "body",
    ["create", "create 640 nobody", "compress\ncreate", "compress\ncompresscmd /bin/cat", "copytruncate", "renamecopy"],
)
def test_labels_stay_with_a_log(tmp_path: Path, body: str):
    """A label of SELinux and other attributes are those of the log on all that is made of it, and on the new log.

    logrotate keeps the label where SELinux is on, and no other attribute.
    """
    log, labels = tmp_path / "a", {"user.origin": b"here", "security.selinux": b"system_u:object_r:var_log_t:s0"}
    log.write_text("a\n")
    for name, value in labels.items():
        try:
            os.setxattr(log, name, value)
        except OSError:
            pytest.skip("no such attributes on this file system")
    (tmp_path / "c").write_text(f"{log} {{\nrotate 2\n{body}\n}}\n")
    done = ours("-f", "-s", tmp_path / "s", tmp_path / "c")
    assert (done.code, done.stderr) == (0, "")
    found = sorted(tmp_path.glob("a*"))
    assert len(found) == (2 if "create" in body or "copytruncate" in body else 1)
    assert [{name: os.getxattr(path, name) for name in os.listxattr(path)} for path in found] == [labels] * len(found)


def test_a_bad_stanza_stops_no_other(place: Place):
    """A stanza whose olddir is missing is left out; logrotate does nothing at all then."""
    case = Case("echo a > a; echo b > b", stanza("olddir o", "L/a") + stanza("", "L/b"))
    theirs, mine = place.both(case)
    assert (theirs.code, sorted(theirs.tree)) == (1, ["a", "b"])
    assert (mine.code, sorted(mine.tree)) == (1, ["a", "b.1"])


def test_a_bad_log_stops_no_other_with_shared_scripts(place: Place):
    """One log that cannot be rotated costs itself; logrotate leaves all others of the stanza, and says they were."""
    case = Case("mkdir d; chmod 777 d; echo a > d/a; echo b > b", stanza("sharedscripts", "L/d/a L/b"), '"L/b" OLD')
    theirs, mine = place.both(case)
    assert ("b" in theirs.tree, theirs.state["HERE/l/b"]) == (True, "now")
    assert ("b.1" in mine.tree, "b" in mine.tree, mine.state["HERE/l/b"], mine.code) == (True, False, "now", 1)


@pytest.mark.parametrize("option", ["-f", "-df"])
def test_what_takes_the_turn_of_a_log_is_said(place: Place, option: str):
    """NAME.tmp of an interrupted renamecopy is archived instead of the log, with a warning, which is no failure."""
    mine = place.ours(Case("echo a > a; echo old > a.tmp", stanza("renamecopy", "L/a"), options=(option,)))
    said = "a.tmp of an interrupted renamecopy is completed first; a is rotated by the next run"
    assert (said in mine.stderr, mine.code) == (True, 0)
    assert sorted(mine.tree) == (["a", "a.1"] if option == "-f" else ["a", "a.tmp"])


def test_a_link_that_was_to_be_compressed_first_keeps_the_log(place: Place):
    """With delaycompress the log stays where it is, with either; what is wrong is said in words."""
    case = Case("echo a > a; ln -s /etc/passwd a.1", stanza("compress\ndelaycompress", "L/a"))
    theirs, mine = place.both(case)
    assert (mine.tree, mine.code) == (theirs.tree, theirs.code)
    assert (sorted(mine.tree), mine.code) == (["a", "a.1"], 1)
    assert "a.1: could not wait for its writer: Too many levels of symbolic links" in mine.stderr


SMALL = ["weekly =1", "create =600", "create '600'"]
HUGE = ["rotate 4294967297", "maxage 99999999999", "size 17179869184G"]


@pytest.mark.parametrize("body", [*SMALL, *HUGE])
def test_arguments_that_only_one_of_them_takes(place: Place, body: str):
    """An = or quotes around a value do no harm, a number that does not fit costs its stanza."""
    theirs, mine = place.both(Case("echo a > a", stanza(body, "L/a")))
    assert ("a.1" in theirs.tree, theirs.code) == ((False, 1) if body in SMALL else (True, 0))
    assert ("a.1" in mine.tree, mine.code) == ((True, 0) if body in SMALL else (False, 1))


def test_an_archive_with_hard_links_is_compressed(place: Place):
    """logrotate refuses to, and the log stays for as long as the other name is there."""
    case = Case("echo a > a; echo 1 > a.1; ln a.1 h", stanza("compress\ndelaycompress", "L/a"))
    theirs, mine = place.both(case)
    assert (sorted(theirs.tree), theirs.code) == (["a", "a.1", "h"], 1)
    assert (sorted(mine.tree), mine.code) == (["a.1", "a.2.gz", "h"], 0)


def test_a_state_file_without_a_newline_at_its_end(place: Place):
    """It is an error for both; the last line holds here, so its log is rotated."""
    lines = "printf 'logrotate state -- version 2\\n\"L/a\" 2026-1-1-0:0:0' > HERE/s; chmod 640 HERE/s"
    theirs, mine = place.both(Case(f"echo a > a; {lines}", stanza("daily", "L/a"), options=()))
    assert (sorted(theirs.tree), theirs.code) == (["a"], 1)
    assert (sorted(mine.tree), mine.code) == (["a.1"], 1)


def test_ignoreduplicates_in_the_stanza_itself(place: Place):
    """A stanza that names a log twice, and says so, is no error; logrotate 3.21 says that it is one."""
    theirs, mine = place.both(Case("echo a > a", stanza("ignoreduplicates", "L/a L/a")))
    assert (theirs.tree, mine.tree) == (theirs.tree, theirs.tree)
    assert (theirs.code, mine.code) == (1, 0)


def test_copy_with_renamecopy_copies(place: Place):
    """The two exclude each other: logrotate moves the archives, copies nothing and fails; maintd takes the copy."""
    theirs, mine = place.both(Case(PLAIN, stanza("renamecopy\ncopy", "L/a")))
    assert (theirs.code, "a.1" in theirs.tree) == (1, False)
    assert (mine.code, mine.tree["a.1"], mine.tree["a"]) == (0, theirs.tree["a"], theirs.tree["a"])


def test_an_archive_that_was_not_compressed_is_kept(place: Place):
    """With compress, an uncompressed archive of before becomes a generation; logrotate writes over it."""
    case = Case("echo a > a; echo 1 > a.1; echo 2 | gzip > a.2.gz", stanza("rotate 5\ncompress", "L/a"))
    theirs, mine = place.both(case)
    assert {name: found[-1] for name, found in theirs.tree.items()} == {"a.1.gz": b"a\n", "a.3.gz": b"2\n"}
    contents = {name: found[-1] for name, found in mine.tree.items()}
    assert contents == {"a.1.gz": b"a\n", "a.2.gz": b"1\n", "a.3.gz": b"2\n"}


@pytest.mark.parametrize("wrong", ["chmod 664 more", "chmod 646 more", "chown nobody more"])
@pytest.mark.parametrize("named", ["L/more", "HERE/c"], ids=["named", "included"])
def test_a_config_file_that_others_can_change_makes_the_exit_code_1(place: Place, wrong: str, named: str):
    """It is skipped and named; 3.22 says 1 for it (its ChangeLog, #508), while 3.21 says 0."""
    files = f"echo a > a; printf '%s {{\\n}}\\n' $PWD/a > more; chmod 644 more; {wrong}"
    theirs, mine = place.both(Case(files, "include L/more\n", options=("-f", named) if named == "L/more" else ("-f",)))
    assert mine.tree == theirs.tree
    assert "a" in mine.tree
    assert (theirs.code, mine.code) == (0, 1)
    for did in (theirs, mine):
        assert re.search("error: .*more.*(writable by group or others|owner is wrong)", did.stderr)
