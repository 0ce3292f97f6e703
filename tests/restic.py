"""A repository of restic in which snapshots of any times are written at once, and what its `forget` makes of them.

restic takes a second for each snapshot that it makes itself. The format is that of its design document ("Repository
Format"): JSON, encrypted with AES-256 in counter mode and authenticated with Poly1305-AES, named by its SHA-256.
"""

import base64
import hashlib
import json
import os
import socket
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

PASSWORD = "a password"
POLYNOMIAL = "2ce98b80ccbf1f"
_CLAMP = bytes((255, 255, 255, 15, 252, 255, 255, 15) * 2)
"""The bits of r that Poly1305-AES leaves (all but every fourth byte's upper four, and lower two)."""


@dataclass
class Key:
    encrypt: bytes
    k: bytes
    r: bytes

    @classmethod
    def of(cls, material: bytes) -> "Key":
        return cls(material[:32], material[32:48], material[48:64])

    def seal(self, plain: bytes) -> bytes:
        nonce = os.urandom(16)
        sealed = Cipher(algorithms.AES(self.encrypt), modes.CTR(nonce)).encryptor().update(plain)
        masked = Cipher(algorithms.AES(self.k), modes.ECB()).encryptor().update(nonce)
        return nonce + sealed + Poly1305.generate_tag(self._clamped() + masked, sealed)

    def _clamped(self) -> bytes:
        return bytes(byte & mask for byte, mask in zip(self.r, _CLAMP, strict=True))

    def fields(self) -> dict[str, object]:
        return {
            "mac": {"k": base64.b64encode(self.k).decode(), "r": base64.b64encode(self._clamped()).decode()},
            "encrypt": base64.b64encode(self.encrypt).decode(),
        }


class Repository:
    """Snapshots by name, one at each of the times (aware)."""

    def __init__(self, folder: Path, times: Iterable[tuple[str, datetime]]) -> None:
        self.folder = folder
        for name in ("keys", "snapshots", "data", "index", "locks"):
            (folder / name).mkdir(parents=True)
        self._master = Key.of(os.urandom(64))
        salt = os.urandom(64)
        user = Key.of(hashlib.scrypt(PASSWORD.encode(), salt=salt, n=2, r=1, p=1, dklen=64))
        sealed = user.seal(json.dumps(self._master.fields()).encode())
        key = {"created": "2026-01-01T00:00:00Z", "username": "u", "hostname": "h", "kdf": "scrypt"}
        key |= {"N": 2, "r": 1, "p": 1, "salt": base64.b64encode(salt).decode()}
        self._named("keys", json.dumps(key | {"data": base64.b64encode(sealed).decode()}).encode())
        config = {"version": 1, "id": os.urandom(32).hex(), "chunker_polynomial": POLYNOMIAL}
        (folder / "config").write_bytes(self._master.seal(json.dumps(config).encode()))
        for name, time in times:
            snapshot = {"time": time.isoformat().replace("+00:00", "Z"), "tree": "0" * 64, "paths": ["/p"]}
            snapshot |= {"hostname": "h", "username": name}
            self._named("snapshots", self._master.seal(json.dumps(snapshot).encode()))

    def lock(self, pid: int) -> None:
        """As a restic of this machine has it that is pruning, or was killed while it was."""
        fields = {"time": datetime.now(UTC).isoformat(), "exclusive": True, "hostname": socket.gethostname()}
        self._named("locks", self._master.seal(json.dumps(fields | {"username": "u", "pid": pid}).encode()))

    def _named(self, kind: str, data: bytes) -> None:
        (self.folder / kind / hashlib.sha256(data).hexdigest()).write_bytes(data)

    def kept(self, *policy: str) -> set[str]:
        """The names of the snapshots that `restic forget --dry-run` would keep."""
        done = subprocess.run(
            ["restic", "-r", str(self.folder), "--no-cache", "forget", "--dry-run", "--json", *policy],
            check=True,
            capture_output=True,
            env={**os.environ, "RESTIC_PASSWORD": PASSWORD, "TZ": "UTC"},
        )
        return {snapshot["username"] for group in json.loads(done.stdout) for snapshot in group["keep"]}
