"""What others have called their files, and what they write, ends neither maintd nor what it has to tell."""

import os

from tests.conftest import until

from .sink import FILE

ALERTS = (
    '[alerts]\ngroup = "0ms"\n[alerts.channels.program]\ncommand = ["/bin/sh", "HERE/tell"]\n'
    '[[alerts.routes]]\nseverity = "warning"\n'
)
TELLS = 'printf "%s | %s\\n" "$MAINTD_ALERT_TITLE" "$MAINTD_ALERT_TEXT" >> {0}\n'
ROTATE = '[rotate.r]\npaths = ["LOGS/*.log"]\nmax_size = "1"\ncron = "@yearly"\n'
THERE = '[check.file.bad]\npaths = ["LOGS/*"]\nabsent = true\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\n'
SAYS = '[check.program.says]\ncommand = ["HERE/says"]\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\n'


def test_names_that_are_no_utf8_and_output_with_a_nul_are_told_in_escapes(daemon):
    """A user's file name that is not UTF-8, in what is refused and in what is told, ends nothing: its alert comes, and
    that of a check whose program prints a NUL and an escape sequence; what comes after them does too.
    """
    one = daemon(ALERTS + ROTATE + THERE + SAYS + FILE.format("other"))
    told = one.tree.folder / "told"
    (one.tree.folder / "tell").write_text(TELLS.format(told))
    (one.tree.folder / "says").write_text('#!/bin/sh\nprintf "one\\000two \\033[31mred\\\\dir\\n"\nexit 2\n')
    (one.tree.folder / "says").chmod(0o755)
    evil = os.fsencode(one.tree.logs) + b"/evil\xff.log"
    with open(evil, "wb") as file:
        file.write(b"x\n" * 100)
    os.link(evil, os.fsencode(one.tree.folder) + b"/hard")
    one.start()
    names = ("check.file.bad", "check.program.says", "check.file.other", "rotate.r")
    until(lambda: told.exists() and all(name in told.read_text() for name in names), "all are told", 30)
    text = told.read_text()
    assert f"{one.tree.logs}/evil\\xff.log is there" in text
    assert "one\\x00two \\x1b[31mred\\dir" in text
    assert one.events("alert.failed") == one.events("state.failed") == []
    done = one.tree.run("silence", "x\udcff", "1h")
    assert done.returncode == 1
    assert "x\\xff is no pattern of names" in done.stderr
    assert one.tree.run("silence", "rotate.*", "1h", "--reason", "x\udcff").returncode == 0
    assert one.stop() == 0
    one.start()
    assert one.status()["alerts"]["silences"][0]["reason"] == "x\\xff"
    assert one.events("daemon.failed") == one.events("state.failed") == []
