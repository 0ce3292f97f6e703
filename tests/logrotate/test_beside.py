"""maintd does to a tree of logs what Debian's logrotate does; where it differs on purpose: test_otherwise.py."""

import os

import pytest

from .beside import Case, Place
from .original import needed

pytestmark = [needed, pytest.mark.skipif(os.geteuid() != 0, reason="needs root: files of several users")]

SCRIPTS = "\n".join(
    f'{name}\necho "{name} $# [$1] [$2]" >> TRACE\nendscript'
    for name in ("firstaction", "prerotate", "postrotate", "lastaction", "preremove")
)


def failing(name: str) -> str:
    """All scripts, of which this one fails."""
    return SCRIPTS.replace(f'echo "{name} $# [$1] [$2]" >> TRACE', f'echo "{name} $# [$1] [$2]" >> TRACE\nexit 3')


def stanza(body: str, logs: str = "L/a L/b") -> str:
    return f"{logs} {{\nrotate 2\n{body}\n}}\n"


TWO = "echo a > a; echo b > b; chown nobody:daemon a; chmod 640 a; echo o | gzip > a.1.gz; echo o | gzip > b.1.gz"
PLAIN = "echo a > a; echo b > b; chown nobody:daemon a; chmod 640 a; echo 1 > a.1; echo 2 > a.2; echo 3 > a.3"
DATED = "echo a > a; echo 3 > a-20260103; echo 2 > a-20260102; echo 1 > a-20260101; echo x > a-2026010"

SAME = {
    "rename": Case(PLAIN, stanza("")),
    "create": Case(PLAIN, stanza("create")),
    "create mode": Case(PLAIN, stanza("create 600")),
    "create mode user": Case(PLAIN, stanza("create 604 games")),
    "create mode user group": Case(PLAIN, stanza("create 664 games daemon")),
    "create of a set-gid log": Case("echo a > a; chmod 2640 a", stanza("create", "L/a")),
    "compress": Case(TWO, stanza("compress\ncreate")),
    "compress level": Case(TWO, stanza("compress\ncompressoptions -9\ncreate")),
    "delaycompress": Case(
        "echo a > a; echo 1 > a.1; echo 2 | gzip > a.2.gz; chown games a.1", stanza("compress\ndelaycompress", "L/a")
    ),
    "shared scripts": Case(TWO, stanza(f"compress\ncreate\nsharedscripts\n{SCRIPTS}")),
    "scripts": Case(PLAIN, stanza(f"create\n{SCRIPTS}")),
    "scripts and compress of one log": Case(TWO, stanza(f"create\ncompress\n{SCRIPTS}", "L/a")),
    "shared scripts, and archives that go": Case(TWO, stanza(f"compress\nsharedscripts\n{SCRIPTS}\nrotate 1")),
    "shared scripts with one log that is due": Case(
        "touch a; echo b > b", stanza(f"notifempty\nsharedscripts\n{SCRIPTS}")
    ),
    "no scripts where nothing is due": Case("touch a; touch b", stanza(f"notifempty\n{SCRIPTS}")),
    "lastaction fails": Case(TWO, stanza(f"compress\n{failing('lastaction')}")),
    "firstaction fails": Case(TWO, stanza(f"compress\n{failing('firstaction')}")),
    "postrotate fails": Case(PLAIN, stanza(failing("postrotate"))),
    "postrotate fails, shared": Case(TWO, stanza(f"compress\nsharedscripts\n{failing('postrotate')}")),
    "preremove fails": Case(PLAIN, stanza(failing("preremove"))),
    "missing": Case("echo b > b", stanza("")),
    "missingok": Case("echo b > b", stanza("missingok")),
    "missing directory": Case("echo b > b", stanza("missingok", "L/no/a L/b")),
    "wildcard of nothing": Case("echo b > b", stanza("", "L/b L/*.none")),
    "symbolic links and hard links": Case("echo a > h; ln h a; ln -s h b; echo c > c", stanza("", "L/a L/b L/c")),
    "allowhardlink": Case("echo a > a; ln a h; echo b > b", stanza("allowhardlink\ncreate")),
    "rotate 0": Case(PLAIN, stanza("rotate 0\ncreate")),
    "rotate 0 and compress": Case(TWO, stanza(f"rotate 0\ncompress\ncreate\n{SCRIPTS}", "L/a")),
    "rotate -1": Case(PLAIN, stanza("rotate -1\ncreate")),
    "start 0": Case("echo a > a; echo 0 > a.0; echo 1 > a.1; echo 2 > a.2", stanza("start 0", "L/a")),
    "extension": Case("echo a > a.log; echo 1 > a.1.log; echo 2 > a.2.log", stanza("extension .log", "L/a.log")),
    "addextension": Case("echo a > a; echo 1 > a.1.x; echo 2 > a.2.x", stanza("addextension .x", "L/a")),
    "compressext": Case("echo a > a; echo 1 | gzip > a.1.z", stanza("compress\ncompressext .z", "L/a")),
    "copy": Case(PLAIN, stanza("copy\ncreate 600")),
    "copytruncate": Case(PLAIN, stanza(f"copytruncate\ncreate 600\n{SCRIPTS}")),
    "copytruncate and compress": Case(TWO, stanza("copytruncate\ncompress")),
    "copy and copytruncate": Case(PLAIN, stanza("copy\ncopytruncate")),
    "rotate 0 and copytruncate": Case(PLAIN, stanza("rotate 0\ncopytruncate")),
    "renamecopy": Case(PLAIN, stanza("renamecopy\ncreate 640 games")),
    "renamecopy with scripts": Case(PLAIN, stanza(f"renamecopy\ncreate\n{SCRIPTS}")),
    "renamecopy, rotate 0": Case(PLAIN, stanza("renamecopy\nrotate 0\ncreate")),
    "renamecopy, olddir, compress": Case(
        "echo a > a; mkdir o; chown nobody a; chmod 600 a", stanza("renamecopy\nolddir o\ncompress", "L/a")
    ),
    "olddir": Case("echo a > a; mkdir o; echo 1 > o/a.1; echo x > a.1", stanza(f"olddir o\n{SCRIPTS}", "L/a")),
    "createolddir": Case("echo a > a; chown nobody a", stanza("olddir o/p\ncreateolddir 750 games daemon", "L/a")),
    "createolddir without being due": Case(
        "touch a", stanza("olddir o\ncreateolddir 700\nnotifempty", "L/a"), options=()
    ),
    "shred": Case(PLAIN, stanza("shred\nshredcycles 1")),
    "maxage": Case(f"{PLAIN}; touch -d 2020-01-01 a.1 a.2", stanza(f"maxage 3\n{SCRIPTS}")),
    "dateext": Case(DATED, stanza(f"dateext\n{SCRIPTS}", "L/a")),
    "dateext, format": Case("echo a > a; echo 1 > a.2020_1", stanza("dateext\ndateformat .%Y_%m%d%H%V", "L/a")),
    "dateext, maxage": Case(f"{DATED}; touch -d 2020-01-01 a-*", stanza("rotate 9\ndateext\nmaxage 9", "L/a")),
    "su": Case(
        "chown nobody:daemon .; echo a > a; chown nobody a; echo 1 > a.1; chown nobody a.1",
        stanza(f"su nobody daemon\ncreate 600\ncompress\n{SCRIPTS.replace('[$1]', '[$1] $(id -u)')}", "L/a")
        .replace("compress", "nocompress"),
    ),
    "su and compress": Case(
        "chown nobody:daemon .; echo a > a; chown nobody a; echo 1 | gzip > a.1.gz",
        stanza("su nobody daemon\ncreate 600 root root\ncompress", "L/a"),
    ),
    "su, copytruncate": Case(
        "chown nobody:daemon .; echo a > a; chown nobody a", stanza("su nobody daemon\ncopytruncate", "L/a")
    ),
    "su, what it may not read": Case(
        "chown nobody:daemon .; echo a > a; chmod 600 a", stanza("su nobody daemon\ncreate\ncompress", "L/a")
    ),
    "su, olddir": Case(
        "chown nobody:daemon .; echo a > a; chown nobody a",
        stanza("su nobody daemon\nolddir o\ncreateolddir 750", "L/a"),
    ),
    "su, a log of another group": Case(
        "chmod 777 .; echo a > a; chmod 640 a", stanza("su nobody daemon\ncreate 640 games", "L/a")
    ),
    "su root root, createolddir": Case("echo a > a", stanza("su root root\nolddir o\ncreateolddir 750 games", "L/a")),
    "insecure directory": Case("echo a > a; chmod 777 .", stanza("create", "L/a")),
    "insecure directory, one of two": Case(
        "mkdir d; chmod 777 d; echo a > d/a; echo b > b", stanza(SCRIPTS, "L/d/a L/b")
    ),
    "directory of a group": Case("echo a > a; chgrp daemon .; chmod 775 .", stanza("create", "L/a")),
    "directory of another user": Case(
        "chown nobody:daemon .; echo a > a; chown nobody a; echo 1 > a.1; chown nobody a.1",
        stanza("create 640 root daemon\ncompress\ndelaycompress", "L/a"),
    ),
    "mail": Case(
        "echo a > a; echo 1 | gzip > a.1.gz; echo 2 | gzip > a.2.gz",
        stanza(f"mail me@x\ncompress\n{SCRIPTS}", "L/a"), options=("-f", "-m", "HERE/mailer"),
    ),
    "mail, plain": Case(PLAIN, stanza("mail me@x\nmaxage 9\n"), options=("-f", "-m", "HERE/mailer")),
    "mailfirst": Case(
        "echo a > a; echo 1 | gzip > a.1.gz; echo 2 | gzip > a.2.gz",
        stanza("mail me@x\nmailfirst\ncompress", "L/a"), options=("-f", "-m", "HERE/mailer"),
    ),
    "mailfirst, plain": Case(PLAIN, stanza("mail me@x\nmailfirst"), options=("-f", "-m", "HERE/mailer")),
    "mailfirst, rotate 0": Case(
        PLAIN, stanza("mail me@x\nmailfirst\nrotate 0\ncompress", "L/b"), options=("-f", "-m", "HERE/mailer")
    ),
    "mail, dated": Case(DATED, stanza(f"dateext\nmail me@x\n{SCRIPTS}", "L/a"), options=("-f", "-m", "HERE/mailer")),
    "mail fails": Case(PLAIN, stanza("mail me@x"), options=("-f", "-m", "/bin/false")),
    "compresscmd": Case(
        "echo a > a; chown games a; chmod 640 a; echo 1 > a.1.cc",
        stanza("compress\ncompresscmd HERE/cc\ncompressext .cc\ncompressoptions -1 'a b'", "L/a"),
    ),
    "compresscmd fails": Case("echo a > a; echo b > b", stanza(f"compress\ncompresscmd /bin/false\n{SCRIPTS}")),
    "compresscmd is missing": Case("echo a > a; echo b > b", stanza("compress\ncompresscmd /bin/nonexistent")),
    "a log is another's archive": Case("echo a > a; echo 1 > a.1; echo 2 > a.2", stanza(f"create\n{SCRIPTS}", "L/a*")),
    "a log is another's archive, shared": Case(
        "echo a > a; echo 1 > a.1; echo 2 > a.2", stanza(f"create\nsharedscripts\n{SCRIPTS}", "L/a*")
    ),
    "an archive is a directory": Case("echo a > a; mkdir a.1", stanza("", "L/a")),
    "not due": Case(PLAIN, stanza("daily"), '"L/a" NOW\n"L/b" OLD', options=()),
    "first sight": Case(PLAIN, stanza("daily"), options=()),
    "by size": Case(PLAIN, stanza("size 1"), '"L/b" OLD', options=()),
    "state in the future": Case(PLAIN, stanza("daily"), '"L/a" 2099-1-1-0:0:0\n"L/b" NOW', options=()),
    "state of logs that are gone": Case(PLAIN, stanza("daily"), '"L/x" 2020-1-1-0:0:0\n"L/y" NOW', options=()),
    "state of a log that is missing for a year": Case(
        "echo b > b", stanza("missingok"), '"L/a" 2020-1-1-0:0:0\n"L/b" 2020-1-1-0:0:0', options=()
    ),
    "names with blanks and quotes": Case(
        "echo a > 'a b'; echo q > 'c\"d'", stanza(f"create\n{SCRIPTS}", "\"L/a b\" 'L/c\"d'")
    ),
    "debug": Case(PLAIN, stanza(f"compress\n{SCRIPTS}"), '"L/a" OLD', options=("-d", "-f")),
    "access control lists": Case(
        "echo a > a; chmod 640 a; setfacl -m u:games:r a; echo 1 > a.1; setfacl -m u:nobody:rw a.1",
        stanza("create\ncompress\ndelaycompress", "L/a"),
    ),
    "access control lists and a mode": Case("echo a > a; setfacl -m u:games:r a", stanza("create 600", "L/a")),
    "access control lists of a copy": Case("echo a > a; setfacl -m u:games:r a", stanza("copytruncate", "L/a")),
    "access control lists, renamecopy": Case("echo a > a; setfacl -m u:games:r a", stanza("renamecopy", "L/a")),
    "default access control lists": Case("setfacl -d -m u:games:rw .; echo a > a", stanza("create\ncompress", "L/a")),
    "nocreate": Case(PLAIN, stanza("create\nnocreate")),
    "nocopy": Case(PLAIN, stanza("copy\nnocopy")),
    "copytruncate, then renamecopy": Case(PLAIN, stanza("copytruncate\nrenamecopy")),
    "renamecopy, then copytruncate": Case(PLAIN, stanza("renamecopy\ncopytruncate")),
    "noshred": Case(PLAIN, stanza("shred\nnoshred")),
    "nomail": Case(PLAIN, stanza("mail me@x\nnomail"), options=("-f", "-m", "HERE/mailer")),
    "maillast": Case(PLAIN, stanza("mail me@x\nmailfirst\nmaillast"), options=("-f", "-m", "HERE/mailer")),
    "nosharedscripts": Case(PLAIN, stanza(f"sharedscripts\nnosharedscripts\n{SCRIPTS}")),
    "nodelaycompress": Case(TWO, stanza("compress\ndelaycompress\nnodelaycompress")),
    "nodateext": Case(DATED, stanza("dateext\nnodateext", "L/a")),
    "noallowhardlink": Case("echo a > a; ln a h", stanza("allowhardlink\nnoallowhardlink", "L/a")),
    "allowhardlink and copytruncate": Case("echo a > a; ln a h", stanza("allowhardlink\ncopytruncate", "L/a")),
    "notifempty, then ifempty": Case("touch a", stanza("notifempty\nifempty", "L/a")),
    "nomissingok": Case("echo b > b", stanza("missingok\nnomissingok")),
    "ignoreduplicates": Case(PLAIN, f"ignoreduplicates\n{stanza('', 'L/a')}{stanza('', 'L/?')}"),
    "size is overridden": Case(PLAIN, stanza("size 1\nweekly 7"), '"L/a" NOW\n"L/b" OLD', options=()),
    "time is overridden": Case(PLAIN, stanza("daily\nsize 1"), '"L/a" NOW\n"L/b" NOW', options=()),
    "maxsize before its time": Case(PLAIN, stanza("yearly\nmaxsize 1"), '"L/a" NOW\n"L/b" NOW', options=()),
    "minsize in its time": Case(PLAIN, stanza("daily\nminsize 1k"), '"L/a" OLD\n"L/b" OLD', options=()),
    "minage": Case(
        "echo a > a; echo b > b; touch -d '3 days ago' b", stanza("daily\nminage 2"), '"L/a" OLD\n"L/b" OLD', options=()
    ),
    "monthly": Case(PLAIN, stanza("monthly"), '"L/a" NOW\n"L/b" OLD', options=()),
    "yearly": Case(PLAIN, stanza("yearly"), '"L/a" OLD\n"L/b" 2025-12-31-23:59:59', options=()),
    "hourly": Case(PLAIN, stanza("hourly"), '"L/a" NOW\n"L/b" OLD', options=()),
    "hourly, dateext": Case("echo a > a", stanza("hourly\ndateext", "L/a")),
    "datehourago": Case("echo a > a", stanza("dateext\ndateformat -%Y%m%d-%H\ndatehourago", "L/a")),
    "dateyesterday": Case("echo a > a", stanza("dateext\ndateyesterday", "L/a")),
    "dateext, delaycompress": Case(
        "echo a > a; echo 1 > a-20260101; echo 2 | gzip > a-20251231.gz",
        stanza("dateext\ncompress\ndelaycompress", "L/a"),
    ),
    "dateext, compress is new": Case(
        "echo a > a; for day in 27 28 29; do echo $day > a-202611$day; done; echo 26 | gzip > a-20261126.gz",
        stanza("daily\ndateext\ncompress", "L/a"), '"L/a" 2026-11-29-0:0:0',
    ),
    "dateext, compress is new, rotate -1": Case(DATED, stanza("rotate -1\ndateext\ncompress", "L/a")),
    "dateext, compress is new, olddir, extension, maxage": Case(
        "echo a > a.log; mkdir o; echo 1 > o/a-20260101.log; echo 2 > o/a-20260102.log; touch -d 2020-01-01 o/*",
        stanza("dateext\ncompress\nolddir o\nextension .log\nmaxage 0", "L/a.log"),
    ),
    "dateext, compress is new, maxage": Case(
        f"{DATED}; touch -d 2020-01-01 a-*", stanza("dateext\ncompress\nmaxage 9", "L/a")
    ),
    "dateext, compress is new, mailfirst, copytruncate": Case(
        DATED, stanza("dateext\ncompress\nmail me@x\nmailfirst\ncopytruncate", "L/a"),
        options=("-f", "-m", "HERE/mailer"),
    ),
    "dateext, both of one date": Case(
        "echo a > a; echo 1 > a-20260101; echo 2 | gzip > a-20260101.gz", stanza("dateext\ncompress", "L/a")
    ),
    "dateext, olddir, extension": Case(
        "echo a > a.log; mkdir o; echo 1 > o/a-20260101.log; echo 2 > o/a-20260102.log",
        stanza("dateext\nolddir o\nextension .log", "L/a.log"),
    ),
    "addextension that the log has": Case(
        "echo a > a.x; echo 1 | gzip > a.1.x.gz", stanza("addextension .x\ncompress", "L/a.x")
    ),
    "olddir is absolute": Case("echo a > a; mkdir o", stanza("olddir L/o", "L/a")),
    "olddir of two logs": Case("mkdir o d; echo a > a; echo b > d/b", stanza("olddir L/o", "L/a L/d/b")),
    "createolddir, short": Case("echo a > a", stanza("olddir o\ncreateolddir 700", "L/a")),
    "createolddir is there": Case(
        "echo a > a; mkdir o; chmod 711 o", stanza("olddir o\ncreateolddir 700 games", "L/a")
    ),
    "shred, hard links": Case("echo a > a; echo 1 > a.1; echo 2 > a.2", stanza("shred\nrotate 1", "L/a")),
    "rotate over both of a generation": Case(
        "echo a > a; echo 1 > a.1; echo 1 | gzip > a.1.gz; echo 2 | gzip > a.2.gz", stanza("", "L/a")
    ),
    "uncompresscmd": Case(
        "echo a > a; echo 1 > a.1.gz; echo 2 > a.2.gz",
        stanza("mail me@x\ncompress\nuncompresscmd HERE/cc", "L/a"), options=("-f", "-m", "HERE/mailer"),
    ),
    "compresscmd complains and ends well": Case(
        "echo a > a; printf '#!/bin/sh\\necho odd >&2\\ncat\\n' > odd; chmod 755 odd",
        stanza("compress\ncompresscmd L/odd", "L/a"),
    ),
    "several names, globs and a brace on its own line": Case(
        "echo a > a; echo b > b; mkdir c.d; echo x > 'x y'",
        "L/[ab] \n L/*.d\n 'L/x y'\n{ \n  rotate 1 # not a comment\n\n}",
    ),
    "no newline at the end": Case("echo a > a", "L/a {\nrotate 1\n}"),
    "a stanza in a stanza": Case(PLAIN, "L/b {\nrotate 0\nL/a {\nrotate 0\n}\n}\n"),
    "a closing brace is forgotten": Case(PLAIN, "L/b {\nrotate 0\nL/a {\nrotate 0\n}\n"),
    "include": Case(
        "echo a > a; echo b > b; mkdir d; for n in x y.rpmsave z.off; do printf 'L/b {\\nrotate 1\\n}\\n' > d/$n; done;"
        " rm d/z.off; chmod 644 d/*; touch d/z.off; chmod 666 d/z.off",
        "rotate 1\ntabooext + .off\ninclude L/d\nL/a {\n}\n",
    ),
    "state of version 1": Case("echo a > a", stanza("daily", "L/a"), options=("-v",)),
    "state is not there": Case("echo a > a", stanza("daily", "L/a"), options=("--skip-state-lock",)),
    "a slash behind the name of a log": Case("echo a > a", stanza(SCRIPTS, "L/a/")),
    "olddir through a link": Case(
        "mkdir real; ln -s real link; echo a > real/a; echo 1 > real/a.1", stanza(SCRIPTS, "L/link/a")
    ),
}  # fmt: skip


UNSTAMPED = {
    "prerotate fails": Case(TWO, stanza(failing("prerotate"))),
    "prerotate fails, shared": Case(TWO, stanza(f"sharedscripts\n{failing('prerotate')}")),
    "delaycompress fails": Case(
        "echo a > a; echo 1 > a.1; echo 2 | gzip > a.2.gz",
        stanza(f"compress\ndelaycompress\ncompresscmd /bin/false\n{SCRIPTS}", "L/a"),
    ),
    "dateext, target there": Case("echo a > a; echo b > b; echo 1 > a-$(date +%Y%m%d)", stanza(f"dateext\n{SCRIPTS}")),
    "insecure directory": Case("mkdir d; chmod 777 d; echo a > d/a", stanza("", "L/d/a"), '"L/d/a" OLD'),
    "copytruncate of what its user may only read": Case(
        "chown nobody:daemon .; echo a > a; chmod 444 a", stanza("su nobody daemon\ncopytruncate", "L/a")
    ),
    "prerotate removes the log": Case("echo a > a", stanza("prerotate\nrm $1\nendscript", "L/a")),
    "olddir is a file": Case("echo a > a; echo o > o", stanza("olddir o", "L/a")),
}
"""Rotations that fail; logrotate writes down that they were done, and does not try again before the next time."""


@pytest.mark.parametrize("name", SAME)
def test_the_same_comes_of_it(place: Place, name: str):
    """Names, bytes, modes, owners, attributes, scripts, mails, state and exit code are those of logrotate."""
    if "setfacl" in SAME[name].files and not os.access("/usr/bin/setfacl", os.X_OK):
        pytest.skip("apt-get install acl")
    theirs, ours = place.both(SAME[name])
    said = f"\nlogrotate: {theirs.stderr}\nmaintd: {ours.stderr}"
    assert ours.tree == theirs.tree, said
    assert ours.trace == theirs.trace, said
    assert ours.state == theirs.state, said
    assert ours.code == theirs.code, said


@pytest.mark.parametrize("name", UNSTAMPED)
def test_a_failed_rotation_is_tried_again(place: Place, name: str):
    """What fails leaves the same files as with logrotate, and no entry that says that it was done."""
    theirs, ours = place.both(UNSTAMPED[name])
    assert (ours.tree, ours.trace, ours.code) == (theirs.tree, theirs.trace, theirs.code), ours.stderr
    assert ours.state["HERE/l/a" if "HERE/l/a" in ours.state else "HERE/l/d/a"] in ("hour", "2026-1-1-1:0:0")


TIMED = ["", "copy", "copytruncate", "renamecopy", "prerotate\ntouch -d 2026-11-21 $1\nendscript\ncopy"]


@pytest.mark.parametrize("body", TIMED)
def test_a_compressed_archive_has_the_time_of_the_log(place: Place, body: str):
    """Also one that is made of a copy: maxage goes by it."""
    case = Case("echo a > a; touch -d 2026-11-20 a", stanza(f"compress\n{body}", "L/a"))
    found = []
    for run in (place.theirs, place.ours):
        assert run(case).code == 0
        found.append((place.logs / "a.1.gz").stat().st_mtime)
    assert found[0] == found[1]
