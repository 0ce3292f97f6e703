"""What the programs of a stanza find around them is what logrotate would leave them."""

import subprocess
from pathlib import Path

import pytest

from .beside import EXECUTABLE
from .original import PROGRAM, needed

BARE = {"PATH": "/usr/bin:/bin", "HOME": "/root"}


@needed
@pytest.mark.parametrize("given", [BARE, BARE | {"LC_CTYPE": "C.UTF-8", "PYDANTIC_DISABLE_PLUGINS": "1"}])
def test_scripts_and_compressors_get_the_environment_as_it_was(tmp_path: Path, given: dict[str, str]):
    """Neither what Python sets in the C locale is added, nor what maintd sets; what was set already is left."""
    found = []
    (tmp_path / "cc").write_text("#!/bin/sh\nenv > compressor\nexec gzip\n")
    (tmp_path / "cc").chmod(0o755)
    config = tmp_path / "c"
    config.write_text(
        f"{tmp_path}/a {{\nrotate 1\ncompress\ncompresscmd ./cc\nprerotate\nenv > script\nendscript\n}}\n"
    )
    config.chmod(0o644)
    for program in (str(PROGRAM), EXECUTABLE):
        (tmp_path / "a").write_text("a\n")
        argv = [program, "-f", "-s", tmp_path / "s", config]
        subprocess.run(argv, cwd=tmp_path, env=given, check=True, timeout=60)
        found.append([sorted((tmp_path / name).read_text().splitlines()) for name in ("script", "compressor")])
        (tmp_path / "a.1.gz").unlink()
    assert found[0] == found[1]
