"""Directories of logs that come late, go, or are closed to the daemon."""

import os
import shutil  # noqa: TID251 - to remove what a test made, and to find a tool
import subprocess

import pytest

from tests.conftest import environment
from tests.tree import MAINTD

from .daemon import ONE


def test_a_directory_that_comes_late_goes_and_comes_again_is_watched(daemon):
    """Growth is noticed in a directory made after the start, and in one that was removed and made again."""
    one = daemon(ONE).start()
    assert one.rotates("a/x.log")
    one.event("log.compressed")
    shutil.rmtree(one.tree.logs / "a")
    assert one.rotates("a/x.log")
    one.event("log.compressed", count=2)
    (one.tree.logs / "a").rename(one.tree.logs / "elsewhere")
    assert one.rotates("a/y.log")
    assert one.process
    assert one.process.poll() is None


def test_a_directory_that_cannot_be_read_is_told_once_and_tried_again(daemon):
    """A log directory that is closed to the daemon is a failure in its events, each of its patterns once however often
    it is tried, and again when it is closed again; its logs are done once it opens."""
    if os.geteuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("needs root, and setpriv to drop its capabilities")
    paths = '["LOGS/a/*.log", "LOGS/a/*.txt", "LOGS/b/*.log"]'
    one = daemon(f'[rotate.a]\npaths = {paths}\nmax_size = "1K"\ncron = "@yearly"\n')
    late = one.tree.log("a/late.log")
    one.tree.log("a/late.log.20200101T000000Z.zst")
    os.chown(late.parent, 65534, 65534)
    late.parent.chmod(0o700)
    with one.output.open("wb") as output:
        one.process = subprocess.Popen(
            ["setpriv", "--bounding-set=-all", "--inh-caps=-all", MAINTD, "-c", one.tree.config, "run"],
            stdout=output,
            stderr=subprocess.PIPE,
            env=environment(),
        )
    failed = one.event("paths.failed")
    assert (failed["error"], failed["outcome"]) == ("EACCES", "failure")
    assert "CAP_DAC_OVERRIDE" in one.event("daemon.started")["missing"]
    for number in range(3):
        assert one.rotates("b/x.log")
        one.event("job.finished", outcome="failure", count=number + 1)
    folder = str(late.parent)
    assert sorted(event["target"] for event in one.events("paths.failed")) == [f"{folder}/*.log", f"{folder}/*.txt"]
    late.parent.chmod(0o777)
    one.event("log.rotated", target=str(late))
    late.parent.chmod(0o700)
    assert one.rotates("b/x.log")
    one.event("paths.failed", target=f"{folder}/*.log", count=2)
