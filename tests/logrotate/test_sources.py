"""The same config files are read as by logrotate, in the same order, and none that others could have written."""

import os

import pytest

from maintd.logrotate import sources
from tests.logrotate import original

A, B = "L/a {\n}\n", "L/b {\n}\n"
SAFE = "L/a {\n}\nL/b {\n}\n"


def dotted(pattern, name):
    return {"c": f"{pattern}\ninclude d\n{B}", f"d/{name}": A}


AS_LOGROTATE = [
    {"c": "include HERE/d\n" + B, "d/x": A},
    {"c": "include d\n" + B, "d/x": A, "d/sub/y": A},
    {"c": "include x\n" + B, "x": A},
    {"c": "include none\n" + B},
    {"c": 'include "x"\n' + B, "x": A},
    {"c": "include x y\n" + B, "x": A, "x y": "rotate 3\n"},
    {"c": "include ~/no/such/file\n" + B},
    {"c": "rotate 2\ninclude x\n" + B, "x": "rotate 7\n" + A},
    {"c": "include d\n" + B, "d/x": "rotate 7\n" + A, "d/y": "compress\n"},
    {"c": "include x\n" + B, "x": "rotate 4\nrotate x\n" + A},
    {"c": "include x\n" + B, "x": "rotate 4\nL/a {\nrotate x\n}\n"},
    {"c": "include x\n" + B, "x": "rotate 4\nfoo\nsize\n"},
    {"c": "include d\n" + B, "d/x": "rotate x\n", "d/y": A},
    {"c": "include d\n" + B, "d/x": "rotate 7\n", "d/y": "rotate 8\nrotate x\n"},
    {"c": "include d\n" + B, "d/x": "rotate x\n", "d/y": "rotate 7\n"},
    {"c": "include d\n" + B, "d/x": A + "rotate 7\nrotate x\n", "d/y": "L/c {\nmissingok\n}\n"},
    {"c": "include d\n" + B, "d/x": "rotate 4\nL/a {\nrotate x\n}\n", "d/y": A},
    {"c": "L/a {\nrotate 9\ninclude x\n}\n" + B, "x": "rotate 3\n"},
    {"c": "L/a {\nrotate 2\ninclude none\nrotate 6\n}\n" + B},
    {"c": "L/a {\nsize 7k\ninclude x\n}\n", "x": "rotate 5\nL/b {\nrotate 7\n}\nrotate 6\n"},
    *(
        {"c": "include d\n", f"d/{name}": A}
        for name in ("x,v", "x.bak", "x~", ".x", ".x.bak", "x.rhn-cfg-tmp-1", "x.y")
    ),
    *(dotted("tabooext .foo .bar", name) for name in ("x.foo", "x~")),
    *(dotted("tabooext + .foo, .bar,.baz", name) for name in ("x.foo", "x.bar", "x.baz", "x~", "x")),
    *(dotted("tabooext +.foo", name) for name in ("x.foo", "x~")),
    *(dotted("tabooext = .foo", name) for name in ("x.foo", "x~")),
    *(dotted("tabooext , ,.foo,,", name) for name in ("x.foo", "x~")),
    dotted("tabooext", "x~"),
    dotted("tabooext +", "x~"),
    *(dotted("taboopat x*", name) for name in ("xx", "y", "y~")),
    *(dotted("taboopat + *x  y?", name) for name in ("xx", "y1", "y", "y~", ".yx")),
    dotted("tabooext .x\ntaboopat y*", "a.x"),
    {"c": "include d\n" + B, "d/x": "tabooext + .foo\n", "d/y.foo": A},
    {"c": "include x\ninclude d\n", "x": "tabooext + .foo\n", "d/y.foo": A},
    {
        "c": "include d\n",
        **{f"d/{name}": f"rotate {n}\n" for n, name in enumerate(["B", "a", "_", "Z", "10", "9", ".y"])},
        "d/~": A,
    },
]


@pytest.mark.parametrize("name", ["x.new", "x.old", "x.orig", "x.pacnew", "x.pacsave", "x.pacorig"])
def test_what_editors_and_packages_leave_is_no_config(tmp_path, name):
    """Extensions that are taboo since 3.22 and later are passed over with a note, unless tabooext names others."""
    original.write(tmp_path, {"c": "include d\n" + B, f"d/{name}": A})
    assert [logs for _, logs in original.ours(tmp_path).stanzas] == [[f"{tmp_path}/l/b"]]
    original.write(tmp_path, "tabooext .x\ninclude d\n" + B)
    assert len(original.ours(tmp_path).stanzas) == 2


@original.needed
@pytest.mark.parametrize("files", AS_LOGROTATE)
def test_what_is_included_is_what_logrotate_includes(tmp_path, files):
    """Files, directories, their order, taboo names, and what an error in one of them costs the others."""
    original.write(tmp_path, files)
    original.agree(tmp_path)


FILES = {
    "c": A + "rotate 5\n",
    "e": B,
    "d/x": "L/c {\nmissingok\n}\n",
    "d/x~": B,
    "bad": "rotate 3\nrotate x\n",
    "worse": "rotate 3\nL/a {\nrotate x\n}\nL/b {\n}\n",
    "includes": "rotate 3\ninclude none\n",
    "good": "rotate 2\ninclude z\n",
    "partly": "rotate 2\ninclude y\n",
    "y/1": "rotate 7\n",
    "y/2": "rotate x\n",
    "z/1": "rotate 7\n",
    "odd": "rotate 3\nfoo\nsize\n",
    "empty": "",
}


@original.needed
@pytest.mark.parametrize(
    "paths",
    [
        *(["c", "e"], ["e"], ["none"], ["none", "c"], ["d"], ["d", "c"], ["/dev/null", "c"], ["link", "c"], ["c", "c"]),
        *(["bad", "e"], ["worse", "e"], ["includes", "e"]),
        *(["bad", "c"], ["worse", "c"], ["includes", "c"], ["odd", "e"], ["empty", "c"], ["d/x~", "c"], ["dir", "c"]),
        *(["good", "e"], ["partly", "e"], ["y", "e"]),
    ],
)
def test_what_is_given_is_read_as_by_logrotate(tmp_path, paths):
    """Several files and directories: options of one hold for the next, but not if there was an error."""
    original.write(tmp_path, FILES)
    (tmp_path / "link").symlink_to("e")
    (tmp_path / "dir").mkdir()
    original.agree(tmp_path, paths)


MODES = [0o644, 0o600, 0o400, 0o444, 0o640, 0o755, 0o1644, 0o4644, 0o200, 0o044, 0o664, 0o646, 0o620, 0o602, 0o666]


@original.needed
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: reads what its owner cannot read")
@pytest.mark.parametrize("mode", MODES)
def test_a_file_that_others_can_write_is_not_read(tmp_path, mode):
    """The modes that logrotate refuses are refused, those it warns of warned of; refusing gives exit code 1 (3.22)."""
    original.write(tmp_path, {"c": "rotate 2\ninclude x\n" + B, "x": "rotate 7\n" + A})
    (tmp_path / "x").chmod(mode)
    theirs, ours = original.original(tmp_path), original.ours(tmp_path)
    assert ours.stanzas == theirs.stanzas
    reading = sources.read([str(tmp_path / "x")])
    refused = bool(mode & 0o022)
    assert (theirs.code, ours.code, reading.failed) == (0, int(refused), refused)
    warned = [each for each in reading.complaints if each.level == "warning"]
    assert bool(warned) == ("Potentially dangerous mode" in original.debug(tmp_path)[1])


@original.needed
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: gives a file to another user")
def test_a_file_of_another_user_is_not_read(tmp_path):
    """The owner must be root or who runs this; who that is, the caller may say."""
    original.write(tmp_path, {"c": "include x\n" + B, "x": A})
    os.chown(tmp_path / "x", 1, 1)
    assert original.ours(tmp_path).stanzas == original.original(tmp_path).stanzas
    x = str(tmp_path / "x")
    (complaint,) = sources.read([x]).complaints
    assert (complaint.level, complaint.loses, complaint.fails) == ("error", "file", True)
    assert "owner is wrong (should be root or user with uid 0)" in complaint.text
    assert len(sources.read([x], uid=1).stanzas) == 1


@original.needed
def test_a_file_that_is_too_large_is_not_read(tmp_path):
    """More than 16 MiB is taken for no config file, as by logrotate."""
    original.write(tmp_path, {"c": "rotate 3\ninclude x\n" + A, "x": "rotate 5\n"})
    os.truncate(tmp_path / "x", sources.LARGEST + 1)
    original.agree(tmp_path)


def test_a_pipe_does_not_hold_up_the_reading(tmp_path):
    """3.21 waits for somebody to write into a named pipe; it is passed over, as by 3.22, with a warning."""
    original.write(tmp_path, {"c": "include d\n", "d/y": A})
    os.mkfifo(tmp_path / "d" / "x")
    reading = sources.read([str(tmp_path / "d")])
    assert ([(each.level, each.text) for each in reading.complaints], reading.failed) == (
        [("warning", "ignored because it's a named pipe, and no regular file")],
        False,
    )
    assert len(reading.stanzas) == 1


def test_includes_that_never_end_are_cut(tmp_path):
    """A file that includes itself is read once; a chain may be 16 includes deep, as in logrotate."""
    original.write(tmp_path, {"c": f"include {tmp_path}/c\n{A}"})
    reading = sources.read([str(tmp_path / "c")])
    assert [each.text for each in reading.complaints] == ["ignored because it includes itself"]
    assert (len(reading.stanzas), reading.failed) == (1, True)


@original.needed
@pytest.mark.parametrize("depth", [15, 16, 17])
def test_includes_may_lie_as_deep_as_in_logrotate(tmp_path, depth):
    """Sixteen files within each other are read, the next is not."""
    chain = {f"x{number}": f"include x{number + 1}\n" for number in range(1, depth)}
    original.write(tmp_path, {"c": "include x1\n" + B, **chain, f"x{depth}": A})
    original.agree(tmp_path)
    assert len(original.ours(tmp_path).stanzas) == (2 if depth <= 16 else 1)


def test_what_cannot_be_read_is_complained_about(tmp_path):
    """Whatever is given, nothing is raised."""
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    for path in (str(tmp_path / "none"), str(loop), "/proc/self/mem", "a\0b", "", "/" + "x" * 5000):
        reading = sources.read([path])
        assert (reading.stanzas, len(reading.complaints)) == ((), 1), path


def test_a_missing_include_is_told_with_its_line(tmp_path):
    """What cannot be included is named with the line that includes it, which logrotate does not give."""
    original.write(tmp_path, "#\ninclude HERE/none\n" + A)
    (complaint,) = sources.read([str(tmp_path / "c")]).complaints
    assert str(complaint) == f"error: {tmp_path}/c:2 cannot stat {tmp_path}/none: No such file or directory"


def test_any_bytes_survive(tmp_path):
    """Names and scripts that are not UTF-8 are the same bytes afterwards."""
    (tmp_path / "c").write_bytes(b'"/l/\xff\xfe.log" /l/a\xc2\xa0b {\npostrotate\necho \x80\nendscript\n}\n')
    (found,) = sources.read([str(tmp_path / "c")]).stanzas
    assert [os.fsencode(pattern) for pattern in found.patterns] == [b"/l/\xff\xfe.log", b"/l/a\xc2\xa0b"]
    assert os.fsencode(found.scripts["postrotate"]) == b"echo \x80\n"


def test_a_stanza_knows_its_place(tmp_path):
    """File, first and last line, and the names as they are written, which scripts get as their argument."""
    original.write(tmp_path, {"c": "#\n\nL/a\n  # not this\n 'L/b' {\n  daily\n}\n"})
    (found,) = sources.read([str(tmp_path / "c")]).stanzas
    assert (found.file, found.line, found.end) == (str(tmp_path / "c"), 3, 7)
    assert found.text == f"{tmp_path}/l/a\n '{tmp_path}/l/b' "
    assert found.patterns == (f"{tmp_path}/l/a", f"{tmp_path}/l/b")
