"""How a value is written in a table of the config: what is read from it, how it is shown, what an editor is told."""

from collections.abc import Callable
from typing import Any

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


class Written:
    """Marks the type of an option, in Annotated: `read` takes what TOML holds, `schema` says what must come of it.

    `show`, if given, is how the value is written again; `told` is the JSON Schema for editors. A kind of job has twenty
    such options, and pydantic takes a tenth of a millisecond for each of its own markers: here all is one, made once.
    """

    def __init__(
        self,
        read: Callable[[Any], Any],
        schema: CoreSchema,
        told: JsonSchemaValue,
        show: Callable[[Any], str] | None = None,
    ) -> None:
        shown = core_schema.plain_serializer_function_ser_schema(show) if show else None
        self._schema = core_schema.no_info_before_validator_function(read, schema, serialization=shown)
        self._told = told

    def __get_pydantic_core_schema__(self, _source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return self._schema.copy()  # pydantic writes into what it is given

    def __get_pydantic_json_schema__(self, _schema: CoreSchema, _handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(self._told)
