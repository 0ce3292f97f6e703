"""Patterns name files as glob(7) says, follow no link below the fixed prefix, and never name maintd's own files."""

import os
import socket

import pytest

from maintd import patterns
from maintd.matching import is_match


def named(*paths, exclude=()):
    return [
        match.path for match in patterns.expand([str(path) for path in paths], [str(path) for path in exclude]).matches
    ]


@pytest.fixture
def tree(tmp_path):
    for name in ("app.log", "web.log", "app.txt", ".hidden.log", "a[1].log", "a1.log", "sub/deep.log", "sub/x/y.log"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "wanted"),
    [
        ("*.log", ["a1.log", "a[1].log", "app.log", "web.log"]),
        ("*.l?g", ["a1.log", "a[1].log", "app.log", "web.log"]),
        ("[!a]*.log", ["web.log"]),
        (".*.log", [".hidden.log"]),
        ("app.log", ["app.log"]),
        ("a[1].log", ["a1.log", "a[1].log"]),
        ("a[[]1].log", ["a[1].log"]),
        ("*/*.log", ["sub/deep.log"]),
        ("**/*.log", ["a1.log", "a[1].log", "app.log", "sub/deep.log", "sub/x/y.log", "web.log"]),
        ("sub/**", ["sub/deep.log", "sub/x/y.log"]),
    ],
)
def test_patterns_name_what_a_shell_would(tree, pattern, wanted):
    """Wildcards stay within one part, ** crosses them, a leading dot needs a dot, a literal name means itself."""
    assert named(tree / pattern) == [str(tree / name) for name in wanted]
    assert all(is_match(str(tree / name), str(tree / pattern)) for name in wanted)


def test_excluded_and_own_files_are_left_out(tree):
    """Excluded files, temporaries and what was set aside already are never named, whatever the pattern."""
    for name in ("app.log.20261123T102030Z", "app.log.20261123T102030Z-3.zst", "app.log.maintd-tmp"):
        (tree / name).write_text("x")
    assert named(tree / "*", exclude=[tree / "a*"]) == [str(tree / "web.log")]


def test_links_are_followed_in_the_fixed_prefix_only(tree, tmp_path_factory):
    """A folder of logs that is a link is fine; a link among the logs is passed over, and said."""
    place = tmp_path_factory.mktemp("links")
    (place / "logs").symlink_to(tree)
    (tree / "current.log").symlink_to(tree / "app.log")
    (tree / "dangling.log").symlink_to(tree / "nowhere")
    (tree / "loop").symlink_to(tree)
    found = patterns.expand([str(place / "logs/**/*.log")])
    assert all(match.path.startswith(str(tree)) for match in found.matches)
    assert str(tree / "current.log") not in [match.path for match in found.matches]
    reasons = {os.path.basename(miss.path): miss.reason for miss in found.misses}
    assert reasons == {
        "current.log": "is a symbolic link, not a regular file",
        "dangling.log": "is a dangling symbolic link, not a regular file",
    }


def test_what_is_no_file_is_said(tree):
    """A directory, a socket, a FIFO, a device, a missing file and a missing directory each give their reason."""
    os.mkfifo(tree / "pipe.log")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tree / "s.log"))
        cases = {
            tree / "pipe.log": "is a FIFO",
            tree / "s.log": "is a socket",
            tree / "sub": "is a directory",
            "/dev/null": "is a device",
            tree / "gone.log": "does not exist",
            tree / "nope/*.log": "does not exist",
            tree / "*.nothing": "matches no file",
        }
        for path, reason in cases.items():
            (miss,) = patterns.expand([str(path), str(path)]).misses
            assert reason in miss.reason


def test_names_of_any_bytes_are_named(tmp_path):
    """Names with newlines, quotes, wildcards and bytes that are not UTF-8 are found and matched."""
    odd = [b"new\nline.log", b'quo"te.log', b"st*r.log", b"\xff\xfe.log", b"-rf.log", b"$(x).log", b" .log"]
    for name in odd:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb"):
            pass
    assert sorted(os.fsencode(path) for path in named(tmp_path / "*.log")) == sorted(
        os.path.join(os.fsencode(tmp_path), name) for name in odd
    )
    assert named(tmp_path / "st*r.log") == [str(tmp_path / "st*r.log")]
