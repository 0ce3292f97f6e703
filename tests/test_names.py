"""Names carry the state: what maintd made is recognised, and nothing else is."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from maintd import names

NOW = datetime(2026, 11, 23, 10, 20, 30, tzinfo=UTC)
FILE_NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=[]), min_size=1, max_size=80)


@given(FILE_NAMES, st.integers(0, 999), st.sampled_from(["", ".zst", ".gz"]))
def test_a_name_that_was_given_is_read_back(log, n, suffix):
    """Whatever a log is called, the name of its archive says which log, when, and which of that second it is."""
    name = names.ArchiveName(NOW, n, log, suffix)
    assert names.parse_archive(str(name)) == name
    assert names.is_ours(str(name))


@pytest.mark.parametrize(
    "name",
    ["app.log", "app.log.1", "app.log.1.gz", "app.log-20261123", "app.log.20260231T000000Z", "app.log.20261123T102030",
     "app.log.20261123T102030Z-0", "app.log.20261123T102030Z.bz2", ".20261123T102030Z", "app.log.maintd-tmp2",
     "app.log.\N{FULLWIDTH DIGIT TWO}0261123T102030Z", "app.log.20261123T10203\N{FULLWIDTH DIGIT ZERO}Z",
     "app.log.20261123T102030Z-\N{FULLWIDTH DIGIT ONE}"],
)  # fmt: skip
def test_a_name_that_does_not_parse_is_not_ours(name):
    """Files that others named, also almost like ours, are never taken for maintd's own."""
    assert not names.is_ours(name)


@given(st.lists(st.timedeltas(timedelta(days=-400), timedelta(days=400)), max_size=30))
def test_archives_are_ordered_by_name_however_the_clock_is_set(jumps):
    """A hundred rotations in a second, or with the clock set back a year, get names that only go forward."""
    taken: list[names.ArchiveName] = []
    for jump in [timedelta(), *jumps]:
        taken.append(names.next_archive("app.log", NOW + jump, taken))
    assert [(name.stamp, name.n) for name in taken] == sorted({(name.stamp, name.n) for name in taken})


@given(FILE_NAMES)
def test_temporaries_fit_and_are_recognised(name):
    """The name of a temporary is never longer than a directory entry may be, and is recognised as ours."""
    name = (
        name.encode(
            errors="surrogateescape",
        ).decode(errors="surrogateescape")
        if name.isascii()
        else "é" * 127
    )
    made = names.temporary(name)
    assert len(made.encode(errors="surrogateescape")) <= 255
    assert names.is_ours(made)


@given(st.lists(st.text("ab", min_size=1, max_size=12), min_size=2, unique=True), st.sampled_from(["y", "é"]))
def test_different_names_have_different_temporaries(ends, letter):
    """Names that differ only where there is no room for them in a temporary still get one each."""
    long = [letter * (239 // len(letter.encode())) + end for end in ends]
    made = {names.temporary(name) for name in (*long, *ends)}
    assert len(made) == 2 * len(ends)
    assert all(len(name.encode(errors="surrogateescape")) <= 255 and names.is_ours(name) for name in made)


@given(st.binary(min_size=1, max_size=60))
def test_printable_is_safe_and_unambiguous(raw):
    """Any bytes as a file name become printable UTF-8 from which the bytes can be told."""
    shown = names.printable(raw.decode("utf-8", "surrogateescape"))
    assert shown.isprintable()
    shown.encode("utf-8")
    back = shown.replace("\\\\", "\0").encode()
    for value in range(256):
        back = back.replace(f"\\x{value:02x}".encode(), bytes([value]) if value else b"\\x00")
    assert back.replace(b"\0", b"\\").replace(b"\\x00", b"\0") == raw or b"\\x" in raw
