"""What a channel cannot take as it is: it is sent in another form, and holds up nothing else."""

import json
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.conftest import until
from tests.end_to_end.test_set_clock import LIBRARY, _set, _start

from .sink import FILE, alerts, said

PYTHON = Path(__file__).parents[2] / ".venv-extras/bin/python"
WRITES = '#!/bin/sh\nprintf "%s\\n" "$MAINTD_ALERT_JSON" >> {0}\n'


@pytest.mark.skipif(LIBRARY is None, reason="libfaketime is missing: apt-get install faketime")
def test_what_began_before_the_clock_went_back_is_told_to_be_over(daemon, sink):
    """The clock goes a day back while a check is down: its end is told, in a form that Alertmanager takes."""
    one = daemon(alerts(sink, group="100ms") + FILE.format("a"))
    _start(one)
    one.event("alert.sent")
    _set(one, -timedelta(days=1))
    one.event("clock.jumped")
    (one.tree.folder / "a").touch()
    one.event("alert.sent", count=2)
    assert said(sink) == [("check.file.a", False), ("check.file.a", True)]
    assert sink.refused == []


def test_more_than_one_message_holds_is_several(daemon):
    """As much at once as no environment variable can hold: the command gets all of it, in several messages."""
    name = "a" * 150
    checks = "".join(FILE.format(f"{name}{number}").replace('"1s"', '"1h"') for number in range(160))
    one = daemon('[alerts]\ngroup = "5s"\n[alerts.channels.program]\ncommand = ["HERE/tell"]\n' + checks)
    told = one.tree.folder / "told"
    (one.tree.folder / "tell").write_text(WRITES.format(told))
    (one.tree.folder / "tell").chmod(0o755)
    one.start()
    one.event("alert.sent", count=2)
    lines = told.read_text().splitlines()
    assert max(map(len, lines)) < 64_000
    assert one.events("alert.failed") == []
    assert len({alert["labels"]["alertname"] for line in lines for alert in json.loads(line)}) > 60


def test_what_is_refused_again_and_again_holds_up_nothing_else(daemon, sink):
    """A server that answers 400 to one of three alerts' text gets the others, and of that one the title."""
    one = daemon(alerts(sink, group="3s") + "".join(FILE.format(name) for name in "abc"))
    sink.loathed = f"{one.tree.folder}/b: does not exist"
    one.start()
    until(lambda: len(said(sink)) == 3, "all three, in two messages or in three", 120)
    assert sorted(said(sink)) == [(f"check.file.{name}", False) for name in "abc"]
    told = [one["annotations"]["description"] for message in sink.messages for one in message]
    assert sum("does not exist" in text for text in told) == 2


def test_what_is_longer_than_a_service_takes_is_split(sink):
    """Mattermost takes 4000 characters in a message: a longer one comes in several, unless the URL says otherwise."""
    message = {"title": "much", "text": "word " * 2000, "level": "error"}
    call = "import json,sys; from maintd.channels import send; send(None, **json.loads(sys.argv[1]))"
    port = sink.server.server_port
    for more, count in (("", 4), ("?overflow=upstream", 1)):
        url = f"mmost://127.0.0.1:{port}/tokentokentoken{more}"
        given = {"kind": "apprise", "url": url, "argv": [], "limit": 5, "message": message}
        subprocess.run([PYTHON, "-c", call, json.dumps(given)], check=True, timeout=60)
        assert len(sink.taken) == count, more
        sink.taken.clear()
