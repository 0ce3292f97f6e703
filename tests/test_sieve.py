"""Searching by blocks: whatever the pattern and wherever chunks end, those lines that match each by themselves."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from maintd.cli.search import sifted
from maintd.cli.sieve import Sieve, Sifted, literals

PATTERNS = (
    *(
        "b",
        "ab",
        "a.b",
        "a+b",
        "ab?",
        "^a",
        "b$",
        "^$",
        "^",
        "a|b",
        "(a|b)b",
        "[ab]a",
        "[^a]b",
        "a{2}b",
        r"a\.b",
        r"\bab",
    ),
    *(
        r"\Aab",
        r"b\Z",
        "(?i)AB",
        "(?i)a.B|x",
        "(?i)[ab]b",
        "ab|x",
        "a.b|b$|^x",
        "ab|ab",
        "(?<=a)b",
        "a(?!b)",
        "(?s)a.b",
        r"\s",
        r"a\sb",
        r"a[^b]*b",
        "a*+b",
        "(?:ab)+",
        "a{b",
        "x",
    ),
    *(r"\x61b", "a{,2}b", "[]b]a", "[(?]a", r"a\nb", "é", r"\.", "a||b", "()", ".*b", "a$|^b", "b\\\\"),
)
lines = st.lists(
    st.sampled_from([b"a", b"b", b"ab", b"aab", b"a.b", b"", b"\r", b"AB", b"a b", b"\xc3\xa9", b"\\b", b"x" * 9])
)
chunked = st.lists(lines.map(b"".join), max_size=8).flatmap(
    lambda rows: st.tuples(
        st.just(b"\n".join(rows) + b"\n" * bool(len(rows) % 2)), st.lists(st.integers(0, 60), max_size=5).map(sorted)
    )
)


def by_lines(pattern: str, text: bytes) -> bytes:
    whole = re.findall(rb"[^\n]*\n|[^\n]+\Z", text)
    return b"".join(line for line in whole if re.search(pattern.encode(), line.removesuffix(b"\n")))


def chunks(text: bytes, cuts: list[int]) -> list[bytes]:
    return [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]


@settings(max_examples=60, deadline=None)
@given(chunked)
def test_a_sieve_finds_what_a_look_at_each_line_finds(given):
    """In any chunks, a pattern finds exactly the lines that it matches by themselves, byte for byte and in order."""
    text, cuts = given
    for pattern in PATTERNS:
        stream = Sifted(Sieve(pattern))
        found = b"".join(stream.feed(chunk) for chunk in chunks(text, cuts)) + stream.rest()
        assert found == by_lines(pattern, text), pattern


@settings(max_examples=60, deadline=None)
@given(st.lists(chunked, max_size=4))
def test_generations_side_by_side_are_one_stream(given):
    """Sifted apart, and their first and last lines put together after, generations give what one stream gives."""
    text = b"".join(part for part, _ in given)
    for pattern in ("ab", "^a", "b$", r"a\Z"):
        sieve, borders, out = Sieve(pattern), Sifted(Sieve(pattern)), b""
        for part, cuts in given:
            for found in sifted(iter(filter(None, chunks(part, cuts))), sieve):
                out += found.lines + borders.feed(found.text)
        assert out + borders.rest() == by_lines(pattern, text), pattern


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("needle", ["needle"]),
        ("needle 00[0-4]", ["needle 00"]),
        (r"took \d+[.]25 ms", ["took "]),
        (r"a\.b", ["a.b"]),
        ("ab?c", ["a"]),
        ("ab+cd", ["ab"]),
        ("(long one)?short", ["short"]),
        ("one|two", ["one", "two"]),
        ("one|two|", []),
        (r"a\|b|[|c]de|(f|g)hi", ["a|b", "de", "hi"]),
        (r"one|\d+", []),
        ("x(one|two)yz", ["yz"]),
        ("(?:one)two", []),
        (r"\x41BC", []),
        ("a{2,3}bc", ["bc"]),
        ("a{b", ["b"]),
        ("[]abc]de", ["de"]),
        ("[^]abc]de", ["de"]),
        (r"[\]abc]de", ["de"]),
        ("^$", []),
    ],
)
def test_the_literals_of_a_pattern_are_in_all_that_it_matches(pattern, expected):
    """What is looked for first is text of which no match can lack all; where that is not clear, nothing is."""
    assert literals(pattern) == expected


PIECES = (
    "error",
    "WARN",
    "a",
    "K",
    "ß",
    "é",
    "İ",
    r"\.",
    r"\|",
    "[|x]",
    "[^a]",
    r"\d",
    r"\s",
    "^",
    "$",
    ".",
    "x*",
    "ab?",
    "b+",
)
PIECES += ("o{2}", "o{,2}", "(er|Wa)", "(ab)?", "()", "|", "|", "|", r"\b", r"\x61", "{", "é+")
WORDS = (
    "error",
    "ERROR",
    "Error",
    "warn",
    "WARN",
    "a",
    "k",
    "K",
    "\u212a",
    "ß",
    "ẞ",
    "é",
    "É",
    "İ",
    "i",
    "|",
    ".",
    "x",
    "oo",
    "b",
    "5",
    " ",
    "{",
)
written = st.lists(st.sampled_from(PIECES), min_size=1, max_size=7).map("".join)
spoken = st.lists(st.sampled_from(WORDS).map(str.encode) | st.binary(max_size=2), max_size=6).map(b"".join)


@settings(max_examples=800, deadline=None)
@given(st.sampled_from(["", "(?i)"]), written, st.lists(spoken, max_size=6).map(b"\n".join))
def test_no_line_is_missed_whatever_the_pattern_and_the_bytes(flag, pattern, text):
    """Alternatives and (?i), on any bytes: a pattern finds the lines that re finds one by one, no more and no less."""
    try:
        re.compile((flag + pattern).encode())
    except re.error:
        return
    assert Sieve(flag + pattern).lines(text) == by_lines(flag + pattern, text)
