"""What is an argument for a directive, and what it costs if it is none, are as in logrotate."""

import os
import subprocess

import pytest

from tests.logrotate import original

WRONG = [
    *("rotate x", "rotate 3 4", 'rotate "3"', "rotate -2", "rotate 3k", "rotate 08", "rotate 2147483648", "rotate3"),
    *("start x", "start -1", "minage x", "minage -1", "maxage x", "maxage -3", "shredcycles x", "shredcycles -1"),
    *("size x", "size -1", "size 1.5M", "size 10m", "size 10g", "size 10T", "size 10kB", "size 10 k"),
    *("size 99999999999999999999", "minsize x", "maxsize x", "daily 3", "yearly 3", "nocompress;"),
    *("create 644 nosuch", "create 644 root nosuch", "create 644 root root x", "create 99999", "create # x"),
    *("create root 0644", "createolddir nosuch", "su root", "su", "su nosuch root", "su root nosuch", "su 0 0 0"),
    *("olddir a b", "compresscmd gzip -9", "uncompresscmd a b", "compressext .z .y", "mail a b", "mail # x"),
    *("compressoptions", "tabooext x", "taboopat x"),
]
HARMLESS = [
    *("size", "minsize", "maxsize", "dateformat", "annually", "compress yes", "monthly x", "noignoreduplicates"),
    *("Rotate 3", "errors", "prerotatex", "size 10k\ndaily", "daily\nsize 10k", "daily\nweekly\nweekly"),
    *("size 0x10", "size 010", "rotate = 3", "rotate=+3", "compress # x", "minsize 5k\nmaxsize 5k\nminage 3\nmail a@b"),
    *("create 0 0", "create 9", "create 0100644", "su 0 0", "extension a b", 'compresscmd "gzip"', "weekly 7"),
    *("notifempty\nmail a,b;c", "shredcycles 0", "rotate -1", "hourly"),
]


@original.needed
@pytest.mark.parametrize("body", WRONG + HARMLESS)
def test_arguments_are_judged_as_by_logrotate(tmp_path, body):
    """What is wrong in a stanza costs that stanza and the exit code 1, what is only odd costs nothing; lines agree."""
    original.write(tmp_path, f"L/a {{\n\n{body}\n}}\nL/b {{\n}}\n")
    original.agree(tmp_path)
    assert len(original.ours(tmp_path).stanzas) == (1 if body in WRONG else 2)


@original.needed
@pytest.mark.parametrize("body", [*WRONG[:-2], "rotate", "include", "weekly 9"])
def test_what_is_wrong_outside_of_stanzas_ends_the_file(tmp_path, body):
    """As in logrotate, nothing behind it is read: its logs could be deleted for want of what the line was to say."""
    original.write(tmp_path, f"L/a {{\n}}\n{body}\nL/b {{\n}}\n")
    original.agree(tmp_path)
    assert len(original.ours(tmp_path).stanzas) == 1


LOST = [
    *(
        "rotate",
        "start",
        "minage",
        "maxage",
        "shredcycles",
        "olddir",
        "mail",
        "extension",
        "addextension",
        "compresscmd",
    ),
    *("uncompresscmd", "compressext", "include", "tabooext", "weekly 8", "weekly x", "weekly -1", "weekly 3 # x"),
]


@original.needed
@pytest.mark.parametrize("body", LOST)
def test_an_error_costs_its_stanza_where_logrotate_loses_the_next_too(tmp_path, body):
    """One bad stanza does not stop the others; the message and the exit code are the same."""
    original.write(tmp_path, f"L/a {{\n{body}\n}}\nL/b {{\n}}\n")
    theirs, ours = original.original(tmp_path), original.ours(tmp_path)
    assert (ours.code, ours.errors) == (theirs.code, theirs.errors) == (1, [("c", 2)])
    assert ([logs for _, logs in ours.stanzas], theirs.stanzas) == ([[f"{tmp_path}/l/b"]], [])


@original.needed
@pytest.mark.parametrize(
    ("why", "body", "theirs", "ours"),
    [
        ("newer than 3.21", "minutes 5", (0, 1), (0, 0)),
        ("newer than 3.21", "monthly 15", (1, 1), (0, 0)),
        ("newer than 3.21", "nodateyesterday", (0, 1), (0, 0)),
        ("newer than 3.21", 'create 644 "root" root', (1, 1), (0, 0)),
        ("the manual allows =", "create = 644", (1, 1), (0, 0)),
        ("the manual allows =", "weekly=3", (1, 1), (0, 0)),
        ("what is ignored is no error", "ignoreduplicates\n}\nL/b L/b {\nignoreduplicates", (1, 1), (0, 0)),
        ("an address is no keyword", "errors a@b", (1, 1), (0, 0)),
        ("it would rotate at every run", "size k", (0, 0), (1, 1)),
        ("it would wrap around", "rotate 4294967296", (0, 0), (1, 1)),
    ],
)
def test_what_is_judged_otherwise_on_purpose(tmp_path, why, body, theirs, ours):
    """Exit code and number of errors, where they differ, with the reason."""
    original.write(tmp_path, f"L/a {{\n{body}\n}}\n")
    for found, wanted in ((original.original(tmp_path), theirs), (original.ours(tmp_path), ours)):
        assert (found.code, len(found.errors)) == wanted, why


@original.needed
@pytest.mark.parametrize(
    "options",
    ["-9", "-9 -v", '-9 "a b"', "'x y' z\\ w", '"-9 -v"', "'x", "  -9   -1 ", "-9 #c", '"" -9', 'a"b c"d', "-9=3"],
)
def test_options_for_the_compressor_are_words(tmp_path, options):
    """The compressor gets the very arguments that it gets from logrotate."""
    script = tmp_path / "show"
    script.write_text(f'#!/bin/sh\nfor a in "$@"; do printf "%s\\n" "$a" >> {tmp_path}/args; done; cat\n')
    script.chmod(0o755)
    body = f"rotate 2\ncompress\ncompresscmd {script}\ncompressoptions {options}"
    found = original.stanza(tmp_path, body)
    force(tmp_path)
    assert "".join(f"{word}\n" for word in found.options.compressoptions) == (tmp_path / "args").read_text()


@original.needed
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives logs to others")
@pytest.mark.parametrize("before", ["", "create 600 13 13", "create 600\nnocreate"])
@pytest.mark.parametrize(
    "arguments",
    ["", "600", "9", "9 9", "13", "7 7", "600 13", "nobody", "0 0", "root root", "0644 13 13", "0100644", "64"],
)
def test_forms_of_create_give_the_same_file(tmp_path, before, arguments):
    """Mode, owner and group are those that logrotate gives the new log; what is left out is the old log's."""
    made = original.stanza(tmp_path, f"rotate 1\ncreate {arguments}", before).options.create
    log = tmp_path / "l" / "a"
    os.chown(log, 1, 1)
    log.chmod(0o640)
    tmp_path.chmod(0o755)
    force(tmp_path)
    info = log.stat()
    theirs = (info.st_mode & 0o7777, info.st_uid, info.st_gid)
    assert theirs == tuple(
        old if new is None else new for new, old in zip((made.mode, made.uid, made.gid), (0o640, 1, 1), strict=True)
    )


def force(folder):
    argv = [original.PROGRAM, "-f", "-s", str(folder / "state"), str(folder / "c")]
    subprocess.run(argv, check=True, timeout=20, capture_output=True)
