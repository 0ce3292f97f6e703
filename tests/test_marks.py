"""The line of white space at the head of a log: found again for certain, and no other line is taken for it."""

import os

import pytest

from maintd import marks


@pytest.mark.parametrize("length", [marks.SHORTEST, marks.SHORTEST + 1, 4096, 4096 + marks.SHORTEST])
def test_a_mark_is_one_blank_line_that_carries_its_number(length):
    """Whatever its length, it is one line of blanks and tabs, and number and length are read off it again."""
    nonce = os.urandom(marks.NONCE_BYTES)
    mark = marks.make(nonce, length)
    assert len(mark) == length
    assert mark.strip(b" \t") == b"\n"
    assert marks.nonce_of(mark) == nonce
    assert marks.length_at(mark + b"the first line\n") == length


@pytest.mark.parametrize(
    "text",
    [b"", b"a line\n", b" " * 95, b" " * 200 + b"\n", b"\t" * 200 + b"\n", b"\n" * 200, b" " * 96 + b"word\n"],
)
def test_what_somebody_else_wrote_is_no_mark(text):
    """Blank lines, indented ones and short ones are the log's own: nothing of them is passed over."""
    assert marks.length_at(text) == 0


def test_a_mark_that_was_changed_or_cut_off_is_none():
    """With one bit other, followed by a word, or without its end, it is a line like any other."""
    mark = marks.make(bytes(range(8)), 200)
    assert marks.length_at(mark.replace(b"\t", b" ", 1)) == 0
    assert marks.length_at(mark[:-1] + b"x\n") == 0
    assert marks.length_at(mark[:-1]) == 0


def test_a_mark_that_is_too_short_is_not_made():
    """What has no room for the number is an error, never half a mark."""
    with pytest.raises(ValueError, match=f"at least {marks.SHORTEST} bytes"):
        marks.make(bytes(8), marks.SHORTEST - 1)


@pytest.mark.parametrize("offset", [0, 512, 700])
@pytest.mark.parametrize("length", [marks.SHORTEST, 700])
def test_a_mark_in_the_midst_of_a_file_is_found(offset, length):
    """Where a collapse puts it: at a block, or so that it ends with what is taken out; in blanks of others, too."""
    mark = marks.make(os.urandom(marks.NONCE_BYTES), length)
    begin = 1024 if length > marks.SHORTEST else 1024 - length
    text = b"word " * 300
    whole = text[: begin - 100] + b" " * 100 + mark + b"the next line\n"
    assert marks.lies_in(whole[offset:], offset)
    assert not marks.lies_in(whole.replace(mark, b" " * (length - 1) + b"\n")[offset:], offset)
    assert marks.is_overwritten(whole[offset : begin + length - 1], offset)
    assert not marks.is_overwritten(b"ERROR" + b" " * 200, 0)
