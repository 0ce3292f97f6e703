"""What others have called their files, and what they write, ends neither maintd nor what it has to tell."""

import os
import re
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

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


EMPTY = b"<?xml version='1.0'?><methodResponse><params></params></methodResponse>"
STRANGE = EMPTY.replace(b"<params>", b"<params><param><value><struct></struct></value></param>")


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


SAY = """
import os, sys, time
time.sleep(float(sys.argv[2]))
os.write(1, {
    "cut": ("\\u0436" * 3000 + "x" * int(sys.argv[3]) + "\\n").encode(),
    "latin": b"Gr\\xfc\\xdfe\\n",
    "no_xml": b"\\xef\\xbf\\xbf\\n",
}[sys.argv[1]])
os.write(1, b"the last line\\n")
sys.exit(3)
"""


def test_the_last_lines_come_whatever_a_program_has_written(daemon, supervisord):
    """A log of which 4,000 bytes begin within a character, one with bytes that are no UTF-8, and one with a character
    that no XML may hold are told when their programs crash, and end nothing.
    """
    one = daemon('[cascade]\ncalm = "1h"\n')
    say = one.tree.folder / "say.py"
    say.write_text(SAY)
    given = {"cut": "cut 0 0", "cut_odd": "cut 0 1", "latin": "latin 0 0", "no_xml": "no_xml 0 0"}
    once = "autostart=false\nautorestart=false\nexitcodes=0"
    real = supervisord(
        **{name: ("idle", f"command={sys.executable} -IS {say} {words}\n{once}") for name, words in given.items()}
    )
    one.start()
    for name in given:
        real.ctl("start", name)
    lines = {name: one.event("program.crashed", target=f"{name}:{name}").get("last_lines", "") for name in given}
    assert all(text.endswith("the last line") for text in lines.values()), lines
    assert "Gr\\xfc\\xdfe" in lines["latin"].replace("\\\\", "\\")
    assert one.stop() == 0
    assert one.events("daemon.failed") == []


@pytest.mark.parametrize("body", [b"<html><body>hello<br></body></html>", b"", EMPTY, STRANGE])
def test_what_is_no_supervisord_is_told_as_such(daemon, body):
    """A [supervisor] url that leads to a web server is a supervisord that does not answer; all else goes on."""

    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        one = daemon("")
        one.tree.write_config('[check.process.a]\nprogram = "a"\nevery = "1s"\ntimeout = "900ms"\nfail_after = 1\n')
        url = f'url = "http://127.0.0.1:{server.server_port}"'
        one.tree.config.write_text(re.sub('url = ".*"', url, one.tree.config.read_text()))
        one.start()
        assert "supervisord" in one.event("supervisor.failed")["error_msg"]
        assert "supervisord" in one.event("check.unknown")["reason"]
        assert one.stop() == 0
        server.shutdown()
    assert one.events("daemon.failed") == one.events("job.failed") == []
