"""Where a job's ping goes."""

import pytest

from maintd.ping import failing


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
