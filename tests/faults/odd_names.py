"""Names of files that break what handles names carelessly: shells, formats, terminals, JSON, patterns, lengths."""

import random
from collections.abc import Iterator, Mapping

from maintd.names import LONGEST, is_ours

PUNCTUATION = b"!\"#$%&'()*+,-:;<=>?@[\\]^_`{|}~"
TRACE = b"hacked-by-a-name"
"""A file of this name shows that a shell has read one of them."""

WORDS = [
    b"new\nline.log",
    b"\n",
    b"two\n\nlines\n",
    b"return\rline.log",
    b'"quoted".log',
    b"it's.log",
    b'",\n"event":"daemon.stopped","x":"',
    b'\\", "level": "info',
    b"back\\slash.log",
    b"\\",
    b"\\\\x41",
    b"\\x0a",
    b"esc\x1b[31mred\x1b[0m.log",
    b"\x1b]0;title\x07.log",
    b"\x1b[2J\x1b[H",
    b"tab\there.log",
    b" ",
    b"  leading and trailing  ",
    b"-",
    b"--",
    b"-rf",
    b"-rf *.log",
    b"--help",
    b"--config=x.log",
    b"-e.log",
    b"@file.log",
    b"...",
    b"..x.log",
    b".hidden.log",
    b"~",
    b"~root.log",
    b"$HOME.log",
    b"${PATH}.log",
    b"%s",
    b"%s%s%s%n.log",
    b"%(ENV_X)s.log",
    b"%d%x%p.log",
    b"%%.log",
    b"{0}.log",
    b"{x!r:>99}.log",
    b"{{}}.log",
    b"*",
    b"*.log",
    b"?.log",
    b"[a-z].log",
    b"[!x].log",
    b"[",
    b"a[1].log",
    b"**",
    b"a,b=c:d.log",
    b"CON",
    b"nul.log",
    b"None",
    b"null.log",
    b"true",
    b"0",
    b"1e999.log",
]
SHELLS = [
    template.replace(b"TRACE", TRACE)
    for template in (
        b"$(touch TRACE)",
        b"$(touch TRACE).log",
        b"`touch TRACE`.log",
        b";touch TRACE;.log",
        b"a;touch TRACE",
        b"a&&touch TRACE",
        b"a||touch TRACE",
        b"|touch TRACE",
        b"&touch TRACE&",
        b"> TRACE",
        b"a >TRACE",
        b"x\ntouch TRACE\n",
        b"';touch TRACE;'.log",
        b'";touch TRACE;".log',
        b"'$(touch TRACE)'",
        b"$((touch TRACE)).log",
        b"<(touch TRACE)",
        b"!touch TRACE",
        b"-exec touch TRACE ;",
        b"${IFS}touch${IFS}TRACE",
        b"--checkpoint-action=exec=touch TRACE",
    )
]
OURS_ALMOST = [
    b"x.1.gz.1",
    b"x.gz",
    b"x.zst",
    b"x.log.1",
    b"x.log-20260101",
    b"x.20261301T000000Z",
    b"x.20260101T000000Z-0",
    b"x.20260101T000000Z-01",
    b"x.20260101T000000Z.bz2",
    b"x.20260101T000000Z.zst.bak",
    b"x.20260101T000000Z.log",
    b"x.20260101t000000z",
    b"x.20260101T000000Z\n",
    b"20260101T000000Z",
    b"x.2026\xd9\xa0\xd9\xa1\xd9\xa0\xd9\xa1T000000Z",
    b"x.maintd-tmp2",
    b"x.maintd-tmp\n",
    b"maintd-tmp",
]
TEXTS = [
    "größe-日本.log".encode(),
    "\u202egol.txt".encode(),
    "\u200b\u200d\ufeff.log".encode(),
    "e\u0301\u0323.log".encode(),
    "line\u2028paragraph\u2029.log".encode(),
    "next\u0085line.log".encode(),
    "\U0001f525\U0001f469\u200d\U0001f680.log".encode(),
    "\ufffe\uffff\ufdd0.log".encode(),
    "\U0010ffff.log".encode(),
    "\u00a0\u3000.log".encode(),
    b"surrogate \xed\xa0\x80.log",
    b"overlong \xc0\xaf.log",
    b"overlong \xe0\x80\x8a.log",
    b"too high \xf4\x90\x80\x80.log",
    b"cut off \xe2\x82",
    b"\xff\xfeU\x00"[:3] + b"TF-16.log",
    b"\xef\xbb\xbfBOM.log",
    b"latin \xfc\xdf.log",
]


def groups(seed: int = 1) -> Mapping[str, list[bytes]]:
    """Every name by its kind, each of which a directory can hold; none of them is one that maintd gives."""
    return {
        "words": WORDS,
        "shells": SHELLS,
        "almost ours": OURS_ALMOST,
        "texts": TEXTS,
        "high bytes": [b"byte %c.log" % byte for byte in range(0x80, 0x100)],
        "control characters": [b"control %c.log" % byte for byte in (*range(1, 0x20), 0x7F)],
        "punctuation": [b"%cx.log" % byte for byte in PUNCTUATION],
        "lengths": [
            b"L%03d" % length + b"x" * (length - 4) for length in (16, 64, 128, *range(200, LONGEST + 1, 5), 234)
        ],
        "bytes at random": list(_random(random.Random(seed), 250)),
    }


def _random(dice: random.Random, count: int) -> Iterator[bytes]:
    for number in range(count):
        rest = bytes(dice.choices([byte for byte in range(1, 0x100) if byte != ord("/")], k=dice.randint(1, 200)))
        name = b"%d" % number + rest
        yield name if not is_ours(name.decode("utf-8", "surrogateescape")) else b"%d" % number
