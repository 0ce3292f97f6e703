"""Config files are taken apart as logrotate does it: wherever braces, comments, quotes and keywords stand."""

import pytest

from maintd.logrotate import directives
from maintd.logrotate.syntax import Close, Directive, Fault, Names, parse, words
from tests.logrotate import original


def parts(text):
    return list(parse(text, directives.shape))


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a  b\tc\nd", ("a", "b", "c", "d")),
        ("", ()),
        ('"a b" c', ("a b", "c")),
        ("'a b'\"c d\"e", ("a bc de",)),
        (r"a\ b \"c", ("a b", '"c')),
        (r'"a\"b" "c\d"', ('a"b', r"c\d")),
        (r"/l/\*.log", ("/l/*.log",)),
        (r'"/l/\*.log"', (r"/l/\*.log",)),
        ('"" -9', ("-9",)),
        ("'open to the end", ("open to the end",)),
    ],
)
def test_words_are_those_of_a_shell(text, wanted):
    """Quotes group, backslashes escape, and within double quotes they stay for glob(3)."""
    assert words(text) == wanted


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("/a{}", [Names(1, "/a"), Close(1)]),
        ("/a\n  # it's { no brace\n\n/b\n{\ndaily}\n", [Names(1, "/a\n\n/b\n")]),
        (
            "/a {daily rotate 3\n} # x\n",
            [Names(1, "/a "), Directive(1, "daily"), Directive(1, "rotate", "3"), Close(2)],
        ),
        ("rotate 3", [Directive(1, "rotate", "3")]),
        ("daily", [Directive(1, "daily")]),
        ("\trotate\t= 3  \n", [Directive(1, "rotate", "3")]),
        ("monthly rotate 3\n", [Directive(1, "monthly"), Directive(1, "rotate", "3")]),
        ("monthly 3\n", [Directive(1, "monthly", "3")]),
        ("postrotate\n}\n# no endscript\n endscript daily\n", [Directive(1, "postrotate", "}\n# no endscript\n")]),
        ("postrotate echo 1\n  2\nendscript", [Directive(1, "postrotate", "echo 1\n  2\n")]),
        ("foo bar\nfoo", [Fault(1, "unknown option 'foo' -- ignoring line", "line")]),
        ("}\ndaily", [Fault(1, "unexpected }", "file")]),
        ("/a {\n", [Names(1, "/a ")]),
        ("/a {\n}\n\n/b\n", [Names(1, "/a "), Close(2), Fault(4, "missing '{' after log files definition", "file")]),
        ("\n/b\n}\n", [Fault(2, "unexpected } (missing previous '{')", "file")]),
        ("/a {\n postrotate\n x\n}\n", [Names(1, "/a "), Fault(2, "postrotate without endscript", "file")]),
        ("rotate3\n", [Fault(1, "keyword 'rotate' not properly separated, found 0x33", "file")]),
    ],
)
def test_parts_have_their_lines(text, wanted):
    """Every name, directive, brace and fault is found on the line where it stands."""
    assert parts(text)[: len(wanted)] == wanted


def test_a_stanza_in_a_stanza_is_none():
    """Names before a closing brace are a fault, and what they begin belongs to the stanza that is open."""
    assert parts("/a {\n daily\n/b {\n}\n/c {\n}\n") == [
        Names(1, "/a "),
        Directive(2, "daily"),
        Fault(3, "unexpected log filename, and its stanza in a stanza (missing '}'?)", "stanza"),
        Close(4),
        Names(5, "/c "),
        Close(6),
    ]


AS_LOGROTATE = [
    "",
    "#",
    "\n \n\t\n",
    "L/a {\n}",
    "L/a{}\nL/b{}",
    "\tL/a {\n\t}\n",
    "L/a L/b { rotate 3\n }",
    "L/a\nL/b\n{\nrotate 3\n}",
    "\"L/c d\" 'L/a' {\n}\n",
    "L/c\\ d {\n}\n",
    "'L/c d'{\n}",
    "\"L/a\"'' L/b {\n}",
    '"L/c d {\nmissingok\n}\nL/b {\n}\n',
    "L/a , {\nmissingok\n}",
    "L/a #b {\nmissingok\n}",
    "# x\n  # y\nL/a {\n#foo\n  # x {\n# }\nrotate 3\n}",
    "L/a { # z\nrotate 3\n}",
    "L/a\n  # foo\n# it's { no brace\nL/b {\n}\n",
    "L/a {rotate 3\n compress }\nL/b {}\n",
    "L/a {\ncompress rotate 3\n}\n",
    "missingok compress rotate 4\nL/a {\n}\n",
    "rotate 5\nL/b {\n}\nrotate 6\nL/a {\n}\n",
    "rotate 3\nL/a {\nrotate 4\n}\nL/b {\n}\n",
    "L/a {\n} x\nL/b {\n}\n",
    "L/a{}L/b{}",
    "}\nL/b {\n}\n",
    "L/a {\n}\n}\nL/b {\n}\n",
    "{\nrotate 3\n}\nL/b {}\n",
    "L/a\nL/b\n",
    "L/a",
    "L/a\n rotate 5\n}\nL/b {\n}\n",
    "L/a {\n rotate 5\n",
    "L/a {\nL/b\n}\n",
    'L/a {\n"x"\n}\nL/b {\n}',
    "L/a {\n{\n}\nL/b {\n}",
    "L/a {\n3\n}\nL/b {\n}",
    "compress {\n}\nL/b {\n}",
    "a {\n}\nL/b {\n}",
    "foo_bar\nL/b {\n}",
    "foo\nL/b {\n}",
    "L/a {\nfoo bar baz\n}\nL/b {\n}",
    "L/a {\nfoo\npostrotate\n echo }\nendscript\n}\nL/b {\n}\n",
    "L/a {\nrotate x\npostrotate\n}\nendscript\n}\nL/b {\n}\n",
    "L/a {\npostrotate\n echo } \n} \nendscript\n}\nL/b {\n}\n",
    "L/a {\npostrotate\n echo x\n endscript rotate 3\n}\nL/b {\n}\n",
    "L/a { postrotate\nx\nendscript }\nL/b {\n}\n",
    "L/a {\nendscript\n}\nL/b {\n}\n",
    "\x0cL/a {\n}",
    "rotate 4\r\nmissingok\r\nL/a {\n\tnotifempty\r\n\tmaxsize 5k\r\npostrotate\r\nx\r\nendscript\r\nrotate 3\r\n}\n",
    "L/a {\n} \r\nL/b {\n}\n",
    "L/a {\nmissingok\vrotate 3\ncompress=rotate 4\nshred\r\r\n}\nL/b {\n}\n",
    "L/a {\npostrotate endscript rotate 3\n}\nL/b {\n}\n",
    "L/a {\npostrotate x endscript\n y endscript\n endscript\nrotate 3\n}\nL/b {\n}\n",
    "L/a {\npostrotate\nx\nendscript=rotate 3\n}\nL/b {\n}\n",
    "L/a {\npostrotate\nx\nendscript;\n}\nL/b {\n}\n",
    "L/a {\npostrotate\nx\nendscript##\nrotate 3\n}\nL/b {\n}\n",
    "L/a {\npostrotate\nx\nendscripts\n y\n\tendscript\nrotate 3\n}\nL/b {\n}\n",
    "\ufeffrotate 3\nL/b {\n}",
]


@original.needed
@pytest.mark.parametrize("text", AS_LOGROTATE)
def test_a_file_is_read_as_logrotate_reads_it(tmp_path, text):
    """Stanzas, what is dropped, the lines of errors and the exit code are those of logrotate -d."""
    original.write(tmp_path, text)
    original.agree(tmp_path)


OTHERWISE = [
    ("no closing brace", "L/a {\n rotate 5\nL/b {\n}\n", [], []),
    ("no closing brace, and one behind it", "L/a {\n rotate 5\nL/c {\n}\nL/b {\n}\n", ["L/b"], ["L/b"]),
    ("a closing brace in a comment", "L/a {\n rotate 5\n# }\nL/b {\n}\n", [], []),
    ("a stanza in a stanza", "L/a {\n rotate 5\nL/b {\nrotate 0\n}\n}\n", [], []),
    ("a brace on the line of the error", "L/a { rotate 3 }\nL/b {\n}\n", [], ["L/b"]),
    ("a brace on the line of a keyword", "L/a { notifempty}\nL/b {\n}\n", [], ["L/b"]),
    ("something behind the closing brace", "L/a {\r\nrotate 3\r\n}\r\nL/b {\n}\n", [], ["L/b"]),
    ("an indented closing brace", "L/a {\nrotate x\n  }\nL/b {\n}\n", [], ["L/b"]),
    ("a keyword with nothing behind it at the end", "L/a {\nrotate", ["L/a"], []),
]


@original.needed
@pytest.mark.parametrize(("what", "text", "theirs", "ours"), OTHERWISE)
def test_an_error_in_a_stanza_costs_that_stanza_only(tmp_path, what, text, theirs, ours):
    """Where logrotate loses the stanzas that follow, or keeps the broken one, only the broken one goes."""
    original.write(tmp_path, text)
    found, wanted = original.ours(tmp_path), original.original(tmp_path)
    assert names(tmp_path, found) == ours, what
    assert names(tmp_path, wanted) == theirs, what
    assert found.code == 1


@original.needed
@pytest.mark.parametrize(
    ("text", "line", "counted"),
    [("L/a\n{ rotate x\n}", 2, 1), ("#\nL/a\n\n{\nrotate x\n}", 5, 3), ("L/a {\npostrotate\nx\n}\n", 2, None)],
)
def test_lines_are_counted_right(tmp_path, text, line, counted):
    """Where logrotate does not count the lines of names, or gives no line at all, the true line is told."""
    original.write(tmp_path, text)
    assert original.ours(tmp_path).errors == [("c", line)]
    assert original.original(tmp_path).errors == ([("c", counted)] if counted else [])


@original.needed
def test_a_keyword_that_ends_the_file_counts(tmp_path):
    """Without a newline behind it logrotate passes over a keyword with a message; here it holds."""
    original.write(tmp_path, "L/a {\nrotate 2\nnotifempty")
    theirs, ours = original.original(tmp_path), original.ours(tmp_path)
    assert (theirs.errors, ours.errors) == ([("c", 3)], [])
    assert "are rotated" in theirs.stanzas[0][0]
    assert "are not rotated" in ours.stanzas[0][0]


def names(folder, said):
    return [text.split()[0].replace(f"{folder}/l/", "L/") for text, _ in said.stanzas]
