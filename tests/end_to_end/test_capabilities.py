"""A daemon that may not do everything: it says at its start what it lacks, and which logs it cannot rotate."""

import os
import shutil  # noqa: TID251 - to find a tool

import pytest

from tests.tree import NOBODY

from .daemon import TWO

POWERLESS = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root, and setpriv to drop its capabilities"
)


def test_the_start_names_the_logs_that_cannot_be_rotated(daemon):
    """Without capabilities, the first five logs of other users are named and all are counted; one's own are not."""
    one = daemon(TWO)
    theirs = sorted(str(one.tree.log(f"{folder}/{name}.log")) for folder in "ab" for name in "wxyz")
    for log in theirs:
        os.chown(log, NOBODY, NOBODY)
    one.tree.log("a/ours.log")
    started = one.start(under=POWERLESS).event("daemon.started")
    assert started["unrotatable"] == ", ".join(theirs[:5]) + " and 3 more"
    assert started["unrotatable_count"] == 8
    assert "CAP_SYS_PTRACE" in started["missing"]
    assert "cannot rotate 8 logs: " in started["msg"]


def test_a_lack_that_concerns_no_log_is_said_without_one(daemon):
    """A daemon without capabilities whose logs are all its own names none."""
    one = daemon(TWO)
    one.tree.log("a/ours.log")
    started = one.start(under=POWERLESS).event("daemon.started")
    assert "CAP_CHOWN" in started["missing"]
    assert "unrotatable" not in started
    assert started["msg"].endswith("CAP_LEASE")
