"""What an archive's manifest names, against what the archive and the tree hold; read apart from maintd's own reader."""

import json
from pathlib import Path

MANIFEST = "maintd-manifest.jsonl"


def check(root: Path, unlisted: list[str], missing: list[str]) -> None:
    """Notes the objects that the manifest does not name, and the files that it names and that are nowhere.

    An object that is not listed yet is a copy, as long as its original is there; a file that is listed and not there is
    where it was, if one of that size is. (Whether it is the right one is for who reads its lines.)
    """
    listed: dict[tuple[str, str], tuple[Path, int]] = {}
    for line in (root / MANIFEST).read_bytes().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:  # torn by the kill
            continue
        key = entry["name"], entry.get("member", "")
        if entry.get("void"):
            listed.pop(key, None)
        else:
            listed[key] = Path(entry["original"]), entry["size"]
    objects = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() and path.name != MANIFEST}
    copies = {name for name in objects if (root.parent / name.removesuffix(".zst")).exists()}
    being_made = {name for name in objects if name.endswith(".maintd-tmp")}
    unlisted.extend(sorted(objects - {name for name, _ in listed} - copies - being_made))
    unmoved = {key for key, (path, size) in listed.items() if path.exists() and path.stat().st_size == size}
    missing.extend(sorted(name for name, member in listed.keys() - unmoved if name not in objects))
