"""Relative paths in a config are meant from where the command line was called; a daemon refuses them."""

import gzip
import os
import subprocess
from pathlib import Path

import pytest

from maintd.logrotate import sources

from .beside import ours
from .original import PROGRAM, needed

SCRIPTS = """prerotate
echo "pre <$1> <$2> $(pwd)" >> trace
endscript
postrotate
echo "post <$1> <$2>" >> trace
endscript
"""
CONFIGS = {
    "rotate 0": '"tmp/other.log" {\nrotate 0\n}\n',
    "a name without a directory": '"a.log" {\nrotate 2\ncreate 640\n}\n',
    "scripts, a compressor": f'"*.log" "./tmp/*.log" {{\nrotate 2\ncompress\ncompresscmd ./cc\n{SCRIPTS}}}\n',
    "gzip": '"a.log" "tmp/other.log" {\nrotate 2\ncompress\n}\n',
    "olddir": f'"a.log" "./tmp/other.log" {{\nrotate 2\nolddir old\n{SCRIPTS}}}\n',
    "createolddir": '"a.log" "tmp/other.log" {\nrotate 2\nolddir new/o\ncreateolddir 755\n}\n',
    "copytruncate": '"a.log" "tmp/other.log" {\nrotate 2\ncopytruncate\ndateext\n}\n',
    "a mailer": '"a.log" {\nrotate 2\nmail me\nmailfirst\n}\n',
    "include": "include more/*\ninclude more\n",
}


def lay(folder: Path, config: str) -> None:
    for name in ("tmp/old", "old", "more"):
        (folder / name).mkdir(parents=True)
    for name in ("a.log", "b.log", "tmp/other.log", "more/m.log"):
        (folder / name).write_text(f"{name}\n")
    (folder / "more" / "c").write_text('"more/m.log" {\nrotate 1\n}\n')
    (folder / "c").write_text(config)
    for name, text in (
        ("m", 'echo "mail $*" >> trace; cat > /dev/null'),
        ("cc", 'echo "cc $LOGROTATE_COMPRESSED_FILENAME" >> trace; gzip'),
    ):
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    for name in ("c", "more/c"):
        (folder / name).chmod(0o644)


def left(folder: Path) -> dict[str, bytes]:
    found = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    state = found.pop("s", b"").splitlines()[1:]
    found["the names in the state"] = b"\n".join(sorted(line.rpartition(b" ")[0] for line in state))
    if "trace" in found:  # compressions come together in the end
        found["trace"] = b"\n".join(sorted(found["trace"].replace(os.fsencode(folder), b"HERE").splitlines()))
    return {name: gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data for name, data in found.items()}


@needed
@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
def test_relative_paths_are_meant_from_where_it_was_called(tmp_path: Path, config: str):
    """Names, programs, the state file and includes are what they are for logrotate; what lies at /NAME stays."""
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    for folder in (mine, theirs):
        lay(folder, config)
    argv = ["-f", "-s", "s", "-m", "./m", "c"]
    done = subprocess.run([str(PROGRAM), *argv], cwd=theirs, capture_output=True, check=False, timeout=60)
    assert ours(*argv, cwd=mine).code == done.returncode
    assert left(mine) == left(theirs)


def test_the_file_below_where_it_was_called_is_rotated_and_no_other(tmp_path: Path):
    """With a file of that name below / as well, that one is not touched."""
    other = Path("/tmp") / f"{tmp_path.parent.name}-{os.getpid()}.log"
    lay(tmp_path, f'"tmp/{other.name}" {{\nrotate 0\n}}\n')
    (tmp_path / "tmp" / other.name).write_text("mine\n")
    other.write_text("another\n")
    try:
        assert ours("-f", "-s", "s", "c", cwd=tmp_path).code == 0
        assert not (tmp_path / "tmp" / other.name).exists()
        assert other.read_text() == "another\n"
    finally:
        other.unlink(missing_ok=True)


def test_a_daemon_refuses_relative_paths(tmp_path: Path):
    """It leaves out a stanza with a relative name and a relative include, names them, and reads on."""
    config = tmp_path / "c"
    config.write_text('include more\n"a.log" {\n}\n/x/a "./b" {\n}\n/x/c {\n}\n')
    config.chmod(0o644)
    reading = sources.read([str(config)], is_resident=True)
    assert [stanza.patterns for stanza in reading.stanzas] == [("/x/c",)]
    assert [(each.line, each.loses) for each in reading.complaints] == [(1, "line"), (2, "stanza"), (4, "stanza")]
