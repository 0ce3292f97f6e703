"""The JSON Schema of a config file, so that an editor completes and checks it (`#:schema ./maintd.schema.json`)."""

import json
from datetime import timedelta
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema

from maintd import jobs
from maintd.check import Quorum, Share
from maintd.settings import TABLES
from maintd.units import format_duration

DIALECT = "http://json-schema.org/draft-07/schema#"  # what TOML editors (taplo) understand
NAME = r"^[A-Za-z0-9_-]+$"


class _AsWritten(GenerateJsonSchema):
    def encode_default(self, dft: Any) -> Any:
        if isinstance(dft, (Quorum, Share)):
            return str(dft)
        return format_duration(dft) if isinstance(dft, timedelta) else super().encode_default(dft)


def schema() -> dict[str, Any]:
    """The schema of a whole file: the settings tables, and the named tables of every kind of job."""
    kinds = {kind: jobs.kind(kind) for kind in jobs.kinds()}
    mode: JsonSchemaMode = "validation"
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(m, mode) for m in [*TABLES.values(), *kinds.values()]]
    references, definitions = models_json_schema(models, schema_generator=_AsWritten)
    root = _tables({})
    for table, settings in TABLES.items():
        root["properties"][table] = references[settings, mode]
    for kind, model in kinds.items():
        *folders, name = kind.split(".")
        parent = root
        for folder in folders:
            parent = parent["properties"].setdefault(folder, _tables({}))
        parent["properties"][name] = _tables({NAME: references[model, mode]})
    whole: dict[str, Any] = _plain({**root, **definitions})
    used = json.dumps(whole)
    whole["$defs"] = {name: model for name, model in whole["$defs"].items() if f'"#/$defs/{name}"' in used}
    return {"$schema": DIALECT, "title": "maintd.toml", **whole}


def text() -> str:
    """The schema as the file that is kept beside the config."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def _tables(named: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "additionalProperties": False, "properties": {}, "patternProperties": named}


def _plain(node: Any) -> Any:
    """Without what a TOML file cannot hold (null) and what repeats a key in other letters (titles)."""
    if isinstance(node, list):
        return [_plain(item) for item in node]
    if not isinstance(node, dict):
        return node
    out = {key: _plain(value) for key, value in node.items() if not _is_noise(key, value)}
    members = [member for member in out.get("anyOf", ()) if member != {"type": "null"}]
    if len(members) == 1:
        del out["anyOf"]
        return {**members[0], **out}
    return {**out, "anyOf": members} if members else out


def _is_noise(key: str, value: Any) -> bool:
    is_title = key == "title" and isinstance(value, str)
    return (
        is_title or (key == "default" and value is None) or (key in ("properties", "patternProperties") and not value)
    )
