"""Sets whose snapshots are elsewhere, in a bucket or in a repository of restic, for the trials of vault.py."""

import hashlib
import json
import os
import shutil  # noqa: TID251 - to find a tool
import subprocess
from dataclasses import dataclass
from typing import Any

from tests.conftest import environment
from tests.restic import PASSWORD, Repository
from tests.test_object_store import KEYS, MAINTD, ROOT, Server, asked, objects
from tests.tree import Tree

from .lab import Lab
from .vault import JOB, Scene, State, Vault, VaultBench

BUCKET = "bucket"
"""The name of each bench's bucket begins so."""
STORE = JOB.replace('"HERE/kept"', '"s3://BUCKET/some"') + '{more}[backup.app.s3]\nendpoint = "URL"\ntimeout = "20s"\n'
RESTIC = JOB.replace(
    'destination = "HERE/kept"',
    'engine = "restic"\nrepository = "HERE/repository"\npassword_file = "HERE/password"',
)
_DO, _RESTORE = ("do", "--all", "--json"), ("restore", "app", "--in-place", "--json")
OF_BUCKET = (
    Scene("backup into a bucket", _DO, STORE.format(more="")),
    Scene("retention in a bucket", _DO, STORE.format(more="keep = 1\n")),
    Scene("restore from a bucket", _RESTORE, STORE.format(more="")),
)
OF_RESTIC = (
    Scene("backup by restic", _DO, RESTIC),
    Scene("retention by restic", _DO, RESTIC + "keep = 1\n"),
    Scene("restore by restic", _RESTORE, RESTIC),
)


def store() -> Server:
    """An object store for all benches, to be killed in the end."""
    return Server(ROOT / ".venv-dev/bin/moto_server", "-H", "127.0.0.1", "-p", "PORT")


def why_not_buckets() -> str:
    return "" if MAINTD.exists() else "the environment with the extras is not there (make setup)"


def why_not_restic() -> str:
    return "" if shutil.which("restic") else "restic is not installed (apt-get install restic)"


@dataclass
class BucketVault(Vault):
    """A set with its snapshots in a bucket."""

    server: Server
    bucket: str

    def _there(self) -> dict[str, bytes]:
        return objects(self.server, self.bucket)

    def _newest_and_sound(self) -> tuple[str, list[str]]:
        there = self._there()
        names = sorted(key.split("/")[1] for key in there if key.endswith("/manifest.json"))
        return names[-1] if names else "", [name for name in names if _is_sound(name, there)]

    def sound(self) -> list[Any]:
        return list(self._newest_and_sound()[1])

    def is_newest_sound(self) -> bool:
        newest, sound = self._newest_and_sound()
        return newest in sound

    def temporaries(self) -> list[str]:
        """Also what lies in the bucket and belongs to no snapshot."""
        there = self._there()
        manifests = {key.rpartition("/")[0]: json.loads(data) for key, data in there.items() if _is_manifest(key)}
        known = {f"some/packs/app/{pack['name']}" for one in manifests.values() for pack in one["packs"]}
        loose = [key for key in there if key not in known and key.rpartition("/")[0] not in manifests]
        return super().temporaries() + loose


def _is_manifest(key: str) -> bool:
    return key.endswith("/manifest.json")


def _is_sound(name: str, there: dict[str, bytes]) -> bool:
    sums = there.get(f"some/{name}/SHA256SUMS", b"").decode().splitlines()
    pairs = [line.split("  ", 1) for line in sums]
    keys = [f"some/packs/app/{file}" if ".tar." in file else f"some/{name}/{file}" for _, file in pairs]
    same = all(
        hashlib.sha256(there.get(key, b"")).hexdigest() == digest for key, (digest, _) in zip(keys, pairs, strict=True)
    )
    return bool(sums) and same and not json.loads(there[f"some/{name}/manifest.json"])["missing"]


class BucketBench(VaultBench):
    """With a bucket of its own, which is filled anew before each trial as well."""

    def __init__(self, server: Server) -> None:
        self._server, self._bucket = server, f"{BUCKET}{id(self):x}"
        self._kept: dict[str, dict[str, bytes]] = {}

    def laboratory(self) -> Lab:
        return Lab(MAINTD, **KEYS)

    def fill(self, tree: Tree) -> None:
        text = tree.config.read_text().replace("URL", self._server.url).replace("BUCKET", self._bucket)
        tree.config.write_text(text)
        asked(f"{self._server.url}/{self._bucket}", "PUT", b"")
        self._empty()

    def vault(self, tree: Tree, old: State, kept: State) -> Vault:
        return BucketVault(tree, old, kept, self._server, self._bucket)

    def set(self, scene: Scene) -> Vault:
        is_new = scene.name not in self._kept
        vault = super().set(scene)
        if is_new:
            self._kept[scene.name] = objects(self._server, self._bucket)
        self._empty()
        for key, data in self._kept[scene.name].items():
            asked(f"{self._server.url}/{self._bucket}/{key}", "PUT", data)
        return vault

    def _empty(self) -> None:
        for key in objects(self._server, self._bucket):
            asked(f"{self._server.url}/{self._bucket}/{key}", "DELETE")


@dataclass
class ResticVault(Vault):
    """A set with its snapshots in a repository of restic."""

    def _asked(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        line = ["restic", "-r", self.tree.folder / "repository", "-p", self.tree.folder / "password", "--no-cache"]
        return subprocess.run(
            [*line, "--no-lock", *arguments], check=False, capture_output=True, text=True, env=environment()
        )

    def sound(self) -> list[Any]:
        """The snapshots that lack nothing, if every byte of the repository is what it was."""
        if self._asked("check", "--read-data").returncode != 0:
            return []
        return [one["id"] for one in self._found() if "maintd-whole" in one["tags"]]

    def is_newest_sound(self) -> bool:
        return max(self._found(), key=lambda one: str(one["time"]))["id"] in self.sound()

    def _found(self) -> list[dict[str, Any]]:
        return list(json.loads(self._asked("snapshots", "--json").stdout))

    def temporaries(self) -> list[str]:
        return [path for path in super().temporaries() if not path.startswith(f"{self.tree.folder}/repository")]


class ResticBench(VaultBench):
    def fill(self, tree: Tree) -> None:
        Repository(tree.folder / "repository", [])
        (tree.folder / "password").write_text(f"{PASSWORD}\n")
        os.chmod(tree.folder / "password", 0o600)

    def vault(self, tree: Tree, old: State, kept: State) -> Vault:
        return ResticVault(tree, old, kept)
