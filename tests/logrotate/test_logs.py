"""Stanzas name the logs that logrotate finds for them; a log belongs to the first that names it."""

import os
from pathlib import Path

import pytest

from maintd.logrotate import logs, sources, wildcards
from tests.logrotate import original

B = "L/b {\n}\n"
NAMED = [
    *("L/* {\n}\n", "L/dir {\n}\n", "L/*.log {\n}\n", "L/*/*.log {\n}\n", "L/nope* {\nmissingok\n}\n", "L/di* {\n}\n"),
    *("L/[x].log {\n}\n", "L/\\[x].log {\n}\n", '"L/\\[x].log" {\n}\n', "L/[!a] {\n}\n", "L/[^a] {\n}\n", "L/? {\n}\n"),
    *("L/[[:alpha:]] {\n}\n", "L/[a-b] {\n}\n", "L/[]x[]* {\n}\n", "L/.* {\n}\n", "L/.h* {\n}\n", "L/*[ ]* {\n}\n"),
    *("/nowhere/*/x {\nmissingok\n}\n", "~/no/such/* {\nmissingok\n}\n", "L/*a\nL/*b {\n}\n", "L/dangling {\n}"),
    *("L/sub/ {\n}", "L/d* {\n}", "L/link/* {\n}", "L/*/ {\n}", "HERE//l/a {\n}\nL/a {\n}", "L/a/* {\n}"),
    *("L/a/ {\n}\n", "L/nope/ {\nmissingok\n}\n", "L/link/ {\n}\n", "L/a/ L/a {\n}\n", "L/*/ L/b/ {\n}"),
    *("L/a L/../l/a {\n}\n", "L/\\* {\nmissingok\n}\n", "L/**/*.log {\n}\n", "L/su[b]/../a {\n}\n"),
]
TWICE = [
    *("L/a {\n}\nL/a {\n}\nL/b {\n}\n", "L/a L/a {\n}\n", "L/* {\n}\nL/a {\n}\nL/b {\n}\n", "L/a {\n}\nL/* {\n}\n"),
    *(B + "L/* {\n}\n", B + "L/* L/a {\n}\n", B + "L/* L/sub/* {\n}\n", B + "L/a L/b L/x.log {\n}\n"),
    *(
        "L/b {\nignoreduplicates\n}\nL/* L/sub/* {\n}\n",
        B + "L/* {\nignoreduplicates\n}\n",
        "L/a L/* {\n}",
        "L/? L/? {\n}",
    ),
    *("ignoreduplicates\nL/b L/a L/b {\n}\n" + B, B + "ignoreduplicates\n" + B, B + B + B),
    *("L/b {\nignoreduplicates\n}\n" + B + B, "L/b {\nrotate x\n}\n" + B, B + "L/? {\n}\nL/a L/x.log {\n}\n"),
]
OLDDIRS = [
    *("L/a {\nolddir old\n}\n", "L/a {\nolddir link\n}\n", "L/a {\nolddir HERE/l\n}\n", "L/a {\nolddir x.log\n}\n"),
    *(
        "L/nope {\nmissingok\nolddir old\n}\n",
        "L/none/x {\nmissingok\nolddir none\n}\n",
        "L/none/x {\nolddir none\n}\n",
    ),
    *("L/a {\nolddir /dev/shm\n}\n", "L/a {\nolddir /dev/shm\ncopy\n}\n", "L/a {\nolddir /dev/shm\ncopytruncate\n}\n"),
    *("L/a {\nolddir /dev/shm\nrenamecopy\n}\n", "L/a {\nolddir none\n}\n", "L/a {\nolddir none\nmissingok\n}\n"),
    *("L/a L/sub/s.log {\nolddir old\n}\n", "L/a {\nolddir x.log/y\ncreateolddir\n}\n"),
]


@pytest.fixture
def folder(tmp_path):
    """A folder of logs with directories, links, hidden files and odd names."""
    original.write(tmp_path, "")
    logs_folder = tmp_path / "l"
    for name in ("sub/s.log", ".h.log", "x.log", "[x].log"):
        path = logs_folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
    for name in ("dir", "old"):
        (logs_folder / name).mkdir()
    for name, target in (("link", "sub"), ("dlog", "a"), ("dangling", "nowhere")):
        (logs_folder / name).symlink_to(target)
    return tmp_path


@original.needed
@pytest.mark.parametrize("text", NAMED)
def test_wildcards_name_what_logrotate_finds(folder, text):
    """As glob(3): directories are no logs, links to them are, and what matches nothing stands for itself."""
    original.write(folder, text)
    original.agree(folder)


@original.needed
@pytest.mark.parametrize("text", TWICE)
def test_a_log_in_two_stanzas_belongs_to_the_first(folder, text):
    """The second one loses it, and what its pattern names after it, unless the first one ignores duplicates."""
    original.write(folder, text)
    original.agree(folder)


def test_a_double_says_what_goes_with_it(folder):
    """The complaint counts the other logs of the pattern, which nobody rotates now."""
    original.write(folder, B + "L/? {\n}\nL/b L/a {\n}\n")
    found = logs.expand(sources.read([str(folder / "c")]).stanzas)
    original.write(folder, B + "L/[a-c]* {\n}\n")
    more = logs.expand(sources.read([str(folder / "c")]).stanzas)
    place = f"duplicate log entry for {folder}/l/b"
    assert [each.text for each in found.complaints] == [place, place, f"duplicate log entry for {folder}/l/a"]
    assert [each.text for each in more.complaints] == [f"{place}, and 1 more of its pattern left out"]


@original.needed
@pytest.mark.parametrize("text", OLDDIRS)
def test_an_olddir_is_looked_at_as_by_logrotate(folder, text):
    """It must be there, or be made, and on the log's device unless logs are copied."""
    original.write(folder, text)
    original.agree(folder)


@original.needed
def test_a_missing_olddir_costs_its_stanza_only(folder):
    """logrotate reads nothing behind such a stanza."""
    original.write(folder, "L/a {\nolddir none\n}\n" + B)
    theirs, ours = original.original(folder), original.ours(folder)
    assert (theirs.code, theirs.errors, theirs.stanzas) == (1, [("c", 3)], [])
    assert (ours.code, ours.errors, [found for _, found in ours.stanzas]) == (1, [("c", 3)], [[f"{folder}/l/b"]])


def test_looking_makes_no_directory(folder):
    """-d of logrotate makes the olddir that createolddir asks for; here that waits for the rotation."""
    original.write(folder, "L/a {\nolddir none\ncreateolddir\n}\n")
    before = sorted(os.listdir(folder / "l"))
    expansion = logs.expand(sources.read([str(folder / "c")]).stanzas)
    assert [each.logs for each in expansion.sets] == [(f"{folder}/l/a",)]
    assert sorted(os.listdir(folder / "l")) == before


@pytest.mark.parametrize(
    ("name", "pattern", "wanted"),
    [
        *(("a.log", "*.log", True), (".a.log", "*.log", False), (".a.log", ".*", True), ("a*", "a\\*", True)),
        *(("ab", "a\\*", False), ("[x", "[[]x", True), ("a-", "a[[:punct:]]", True), ("a1", "a[[:punct:]]", False)),
        *(("a[", "a[[:punct:]]", True), ("7", "[[:digit:]a]", True), ("b", "[^a]", True), ("a\nb", "a?b", True)),
        *(("]", "[]]", True), ("!", "[a!]", True), ("a", "[", False), ("[", "[", True), ("a\\b", "a\\\\b", True)),
    ],
)
def test_patterns_match_as_fnmatch_does(name, pattern, wanted):
    """Bracket expressions, classes, escapes and the leading dot."""
    assert wildcards.is_match(name, pattern) is wanted


def test_a_name_that_no_file_can_have_is_a_missing_log(tmp_path):
    """A NUL, or more characters than a path can have, is no reason to fail."""
    for name in ("/l/a\0b", "/l/*/\0", "/l\0/*", "/" + "x" * 5000 + "/*"):
        (tmp_path / "c").write_text(f'"{name}" {{\nolddir x\nmissingok\n}}\n')
        expansion = logs.expand(sources.read([str(tmp_path / "c")]).stanzas)
        assert ([each.logs for each in expansion.sets], expansion.failed) == ([(name,)], False)


def test_a_tilde_is_the_home(folder, monkeypatch):
    """~/ names logs in the home directory of who runs this."""
    monkeypatch.setenv("HOME", str(folder / "l"))
    assert wildcards.expand("~/x.*") == [str(folder / "l" / "x.log")]
    assert wildcards.expand("~/y.*") == ["~/y.*"]
    assert logs.olddir(one(folder, "~/old"), str(folder / "l" / "a")) == str(Path(folder, "l", "old"))


def one(folder, olddir):
    original.write(folder, f"L/a {{\nolddir {olddir}\n}}\n")
    (stanza,) = sources.read([str(folder / "c")]).stanzas
    return stanza
