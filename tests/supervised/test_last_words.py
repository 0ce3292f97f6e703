"""What happens in maintd's last second of life: kept, and told by the next one."""

import json
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime

import pytest

from maintd import state
from maintd.alerts import incident_of
from maintd.notices import Notice
from maintd.state import State
from tests.conftest import until

from .sink import alerts, said
from .supervisord import PROGRAM

FAST = 'sample = "1s"\nover = "1 of 1"\ngrace = "0s"\n'


def test_what_fails_after_sigterm_is_told_by_the_next_maintd(daemon, supervisord, sink):
    """A restart that is under way at SIGTERM fails at its end: that is in the queue before maintd ends.

    The next one delivers it, as the same incident, and knows that the run has failed.
    """
    one = daemon(alerts(sink, group="1h") + f'[limit.one]\nprogram = "one"\nmemory = "20M"\n{FAST}')
    allowed, command = one.tree.folder / "allowed", one.tree.folder / "command"
    command.write_text(f"#!/bin/sh\nexec {sys.executable} -IS {PROGRAM} until_allowed 40 {allowed}\n")
    command.chmod(0o755)
    supervisord(one=("idle", f"command={command}\nstopwaitsecs=60"))
    one.start()
    until(lambda: list((one.tree.folder / "state").rglob("*.restart")), "it begins to restart", 30)
    command.unlink()
    one.process.terminate()
    allowed.touch()
    one.process.communicate(timeout=20)
    assert one.process.returncode == 0
    failed = one.event("program.failed", job="limit.one")
    assert failed["seq"] < one.event("daemon.stopped")["seq"]
    with closing(sqlite3.connect(one.tree.folder / "state/state.sqlite")) as database:
        queued = [json.loads(item) for (item,) in database.execute("SELECT item FROM telling")]
    (waiting,) = [item for item in queued if item["title"] == "limit.one one:one: program.failed"]
    assert sink.taken == sink.refused == []
    one.tree.config.write_text(one.tree.config.read_text().replace('"1h"', '"100ms"'))
    one.start()
    until(lambda: ("limit.one", False) in said(sink), "it is told")
    delivered = [alert["labels"]["incident"] for message in sink.messages for alert in message]
    assert delivered.count(waiting["id"]) == 1
    assert one.status()["jobs"][0]["last_outcome"] == "failure"


@pytest.mark.parametrize("ends", [False, True])
def test_what_a_maintd_whose_main_thread_hangs_leaves_is_found(tmp_path, ends):
    """The reason of such an end is written by another connection, also while the main thread's one is open."""
    hanging = State(str(tmp_path), lambda _: None)
    notice = Notice("daemon.failed  ", "daemon.failed", "critical", "t", "it hangs", fades=True)
    state.leave(str(tmp_path), [incident_of(notice, datetime.now(UTC))])
    if ends:
        hanging.close()
    found = State(str(tmp_path), lambda _: None).alerts.incidents
    assert [(one.text, one.is_pending) for one in found.values()] == [("it hangs", True)]
