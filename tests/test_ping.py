"""Where a job's ping goes."""

import pytest

from maintd.ping import ending, failing, starting


@pytest.mark.parametrize(
    ("url", "failed"),
    [
        ("http://h/ok", "http://h/ok/fail"),
        ("http://h/ok/", "http://h/ok/fail"),
        ("http://h/ok?id=1", "http://h/ok/fail?id=1"),
        ("https://h:8443/a/b?id=1&to=/x#part", "https://h:8443/a/b/fail?id=1&to=/x#part"),
        ("http://h", "http://h/fail"),
    ],
)
def test_a_failure_is_told_at_the_end_of_the_path(url, failed):
    """/fail goes to the end of the URL's path, and its query stays a query."""
    assert failing(url) == failed


def test_a_run_is_told_as_healthchecks_takes_it():
    """/start and the exit code go to the end of the path; rid, a UUID that begins with the run, joins them."""
    rid = "rid=0a1b2c3d-0000-4000-8000-000000000000"
    assert starting("https://h/uuid", "0a1b2c3d") == f"https://h/uuid/start?{rid}"
    assert ending("https://h/uuid/?a=1", "0a1b2c3d", 5) == f"https://h/uuid/5?a=1&{rid}"
