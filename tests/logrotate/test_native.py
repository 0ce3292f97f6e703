"""What `maintd import-logrotate` prints: config that maintd takes, exact or saying what it cannot express."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

from maintd import config
from maintd.logrotate import native, sources

from .beside import Forks

USUAL = """{
    daily
    rotate 7
    compress
    delaycompress
    missingok
    notifempty
    create 644 root root
    size 10M
    postrotate
        [ ! -f /run/nginx.pid ] || kill -USR1 `cat /run/nginx.pid`
    endscript
}
"""
STANZAS = {
    "the usual": USUAL,
    "nothing": "{\n}\n",
    "hourly, maxsize": "{\n  hourly\n  rotate 24\n  maxsize 1G\n}\n",
    "weekly": "{\n  weekly 3\n  rotate 4\n  dateext\n}\n",
    "every 7 days": "{\n  weekly 7\n  rotate 4\n}\n",
    "monthly": "{\n  monthly 31\n  rotate -1\n  minsize 1k\n}\n",
    "yearly": "{\n  yearly\n  rotate 1\n  maxage 400\n}\n",
    "no archive": "{\n  daily\n  rotate 0\n}\n",
    "size 0": "{\n  size 0\n  rotate 3\n}\n",
    "minsize beyond maxsize": "{\n  daily\n  rotate 3\n  minsize 2M\n  maxsize 1M\n}\n",
    "copytruncate": "{\n  daily\n  rotate 3\n  copytruncate\n  compress\n  postrotate\n    /bin/true\n  endscript\n}\n",
    "copy": "{\n  daily\n  rotate 3\n  copy\n}\n",
    "renamecopy": "{\n  daily\n  rotate 3\n  renamecopy\n  olddir /var/old\n}\n",
    "nocreate, olddir": "{\n  daily\n  rotate 3\n  nocreate\n  olddir old\n  createolddir 700 root root\n}\n",
    "xz": "{\n  daily\n  rotate 3\n  compress\n  compresscmd /usr/bin/xz\n  compressext .xz\n}\n",
    "zstd": "{\n  daily\n  rotate 3\n  compress\n  compresscmd zstd\n  compressoptions -19 --long\n}\n",
    "gzip -9": "{\n  daily\n  rotate 3\n  compress\n  compressoptions -9\n}\n",
    "supervisor": "{\n  daily\n  rotate 3\n  postrotate\n    kill -USR2 $(cat /run/supervisord.pid)\n  endscript\n}\n",
    "names in scripts": '{\n  daily\n  rotate 3\n  postrotate\n    upload "$1"\n  endscript\n}\n',
    "all scripts": "{\n  daily\n  rotate 3\n"
    + "".join(
        f"  {name}\n    echo 'a \"b\" \\ c'\n    true\n  endscript\n"
        for name in ("firstaction", "prerotate", "postrotate", "lastaction", "preremove")
    )
    + "}\n",
    "first and last": "{\n  daily\n  rotate 3\n  firstaction\n    true\n  endscript\n"
    "  lastaction\n    true\n  endscript\n}\n",
    "mail, shred": "{\n  daily\n  rotate 3\n  mail me@here\n shred\n  allowhardlink\n extension .log\n  minage 3\n}\n",
    "names": "{\n  daily\n  rotate 1\n  start 0\n  dateext\n  dateformat .%s\n  dateyesterday\n  datehourago\n}\n",
    "a signal that ends": "{\n  daily\n  rotate 1\n  postrotate\n    kill -TERM $(cat /run/a.pid)\n  endscript\n}\n",
}


def imported(folder: Path, stanzas: str) -> str:
    file = folder / "stanzas"
    file.write_text(stanzas)
    file.chmod(0o644)
    done = Forks.of_this_process().run("maintd", "import-logrotate", file)
    assert done.code == 0, done.stderr
    return done.stdout


def job_of(folder: Path, stanza: str) -> dict[str, Any]:
    """The one job that a stanza for /var/log/a.log becomes."""
    file = folder / "stanzas"
    file.write_text(f"/var/log/a.log {stanza}")
    file.chmod(0o644)
    found = tomllib.loads("\n".join(native.tables(sources.read([str(file)]).stanzas)))
    return dict(found["rotate"]["a"])


@pytest.mark.parametrize("stanza", STANZAS.values(), ids=STANZAS)
def test_what_it_prints_is_taken(tmp_path, stanza):
    """The config that is printed for a stanza loads without a problem, under the name of its first log."""
    job = job_of(tmp_path, stanza)
    assert job["paths"] == ["/var/log/a.log"]
    made = tmp_path / "maintd.toml"
    made.write_text("\n".join(native.tables(sources.read([str(tmp_path / "stanzas")]).stanzas)))
    made.chmod(0o644)
    assert list(config.load(str(made)).jobs) == ["rotate.a"]


def test_all_of_them_in_one_file_are_checked(tmp_path):
    """`maintd check` takes what `maintd import-logrotate` prints of many stanzas at once, each under its own name."""
    (tmp_path / "logs").mkdir()
    text = "".join(f"{tmp_path}/logs/{number % 5}.log {stanza}" for number, stanza in enumerate(STANZAS.values()))
    text = text.replace(
        f"{tmp_path}/logs/0.log", f"{tmp_path}/logs/*/a[[:digit:]].log '{tmp_path}/logs/with \"quote\"'", 1
    )
    made = tmp_path / "maintd.toml"
    made.write_text(
        f'[daemon]\nstate_dir = "{tmp_path}/state"\nruntime_dir = "{tmp_path}/run"\n' + imported(tmp_path, text)
    )
    made.chmod(0o644)
    done = Forks.of_this_process().run("maintd", "-c", made, "check")
    assert done.code == 0, done.stderr
    assert len(config.load(str(made)).jobs) == len(STANZAS)


def test_the_usual_stanza(tmp_path):
    """What most stanzas say becomes the options of the same meaning; a signal to a pidfile needs no shell."""
    assert job_of(tmp_path, USUAL.replace("daily", "weekly")) == {
        "paths": ["/var/log/a.log"],
        "max_size": 10 * 1024 * 1024,
        "keep": 7,
        "mode": "0644",
        "owner": 0,
        "group": 0,
        "compress": "gzip",
        "signal": {"name": "USR1", "pidfile": "/run/nginx.pid"},
    }


def test_what_cannot_be_said_is_a_comment(tmp_path):
    """A directive without an equal is named above its table, and so is what would be done otherwise."""
    said = imported(tmp_path, f"/var/log/a.log {STANZAS['mail, shred']}")
    for word in ("mail to me@here", "shred", "allowhardlink", "extension", "minage"):
        assert f"#   not the same: {word}" in said


@pytest.mark.parametrize(
    ("stanza", "words"),
    [
        ("names", ("start 0", "dateformat .%s", "dateyesterday", "datehourago")),
        ("first and last", ("firstaction: before is told no names", "lastaction: after is told no names")),
    ],
)
def test_names_and_moments_that_cannot_be_said(tmp_path, stanza, words):
    """How archives are called, and when what was firstaction or lastaction is run, is said to be otherwise."""
    said = imported(tmp_path, f"/var/log/a.log {STANZAS[stanza]}")
    assert [word for word in words if f"#   not the same: {word}" not in said] == []
    plain = imported(tmp_path, f"/var/log/a.log {STANZAS['the usual']}")
    assert [word for word in words if word.split()[0] in plain] == []


def test_when_a_command_is_run_is_said(tmp_path):
    """A postrotate becomes a command, which is run only while a process has the log open: that is a difference."""
    said = imported(
        tmp_path, "/var/log/a.log {\n    daily\n    postrotate\n        /usr/bin/ship-logs\n    endscript\n}\n"
    )
    assert 'command = ["/usr/bin/ship-logs"]' in said
    assert "#   not the same: postrotate: a command is run while somebody has the log open" in said


def test_scripts_of_several_logs_are_told_apart(tmp_path):
    """That commands run once is said where a stanza's scripts would run for each of several logs, and only there."""
    one = USUAL.replace("{", "/var/log/a.log {", 1)
    assert "sharedscripts" not in imported(tmp_path, one)
    assert "sharedscripts" in imported(tmp_path, one.replace("/a.log", "/*.log"))
    assert "sharedscripts" not in imported(tmp_path, one.replace("daily", "daily\n    sharedscripts"))


def test_a_stanza_with_an_error_is_left_out(tmp_path):
    """An error is said with its file and line, the exit code is 1, and the other stanzas are printed."""
    file = tmp_path / "stanzas"
    file.write_text("/var/log/a.log {\n  rotate many\n}\n/var/log/b.log {\n  daily\n  rotate 2\n}\n")
    file.chmod(0o644)
    done = Forks.of_this_process().run("maintd", "import-logrotate", file)
    assert done.code == 1
    assert f"{file}:2" in done.stderr
    assert list(tomllib.loads(done.stdout)["rotate"]) == ["b"]
