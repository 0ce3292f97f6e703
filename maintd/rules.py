"""What a table of the config is, and the rules over several of its options, which hold also beside other faults."""

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, Self, cast

from pydantic import BaseModel, ConfigDict, ModelWrapValidatorHandler, TypeAdapter, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticCustomError

from maintd.values import dataclass

BROKEN = "broken_rule"
"""The type of pydantic's error for a rule that is not kept."""


@dataclass(frozen=True)
class Rule:
    """What must hold for these options together; `fault` says what is wrong with them, or nothing.

    It reads these options alone, and is not asked while one of them is wrong by itself. What it says is told at the
    place of the first of them that is given, or else at that of the table.
    """

    options: tuple[str, ...]
    fault: Callable[[Any], str]


def rule(*options: str) -> Callable[[Callable[[Any], str]], Rule]:
    """Makes a method of a table a rule over these options."""
    return lambda method: Rule(options, method)


class Options(BaseModel):
    """A table of the config: frozen, unknown keys refused, its rules kept."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        strict=False,
        defer_build=True,
        ignored_types=(Rule,),
    )

    @model_validator(mode="wrap")
    @classmethod
    def _keeps_rules(cls, given: Any, validate: ModelWrapValidatorHandler[Self]) -> Self:
        try:
            table, wrong = validate(given), []
        except ValidationError as error:
            if not isinstance(given, dict):
                raise
            wrong = [_again(detail) for detail in error.errors(include_url=False)]
            table = cls.valid_part(given, error)
        names = {fault["loc"][0] for fault in wrong if fault["loc"]}
        asked = [one for one in rules(cls) if names.isdisjoint(one.options)]
        broken = [_broken(one, message, given) for one in asked if (message := one.fault(table))]
        if wrong or broken:
            raise ValidationError.from_exception_data(cls.__name__, [*wrong, *broken])
        return table

    @classmethod
    def valid_part(cls, given: Mapping[str, Any], error: ValidationError) -> Self:
        """The table of those given options that have no fault, and the defaults; what is wrong may lack a value."""
        wrong = {detail["loc"][0] for detail in error.errors(include_url=False) if detail["loc"]}
        fields = [name for name in cls.model_fields if name in given and name not in wrong]
        values = {name: _of(cls, name).validate_python(given[name]) for name in fields}
        return cast(Self, cls.model_construct(**values))


@lru_cache(maxsize=256)
def rules(model: type[Options]) -> tuple[Rule, ...]:
    """The rules of a table, those of its bases first; one of the same name takes the place of its base's."""
    named = {name: value for base in reversed(model.__mro__) for name, value in vars(base).items()}
    return tuple(value for value in named.values() if isinstance(value, Rule))


@lru_cache(maxsize=1024)
def _of(model: type[Options], name: str) -> TypeAdapter[Any]:
    field = model.model_fields[name]
    return TypeAdapter(cast(Any, Annotated[field.annotation, field]))


def _broken(one: Rule, message: str, given: Any) -> InitErrorDetails:
    first = next((name for name in one.options if isinstance(given, dict) and name in given), None)
    return InitErrorDetails(type=_custom(message), loc=(first,) if first else (), input=given)


def _again(detail: Any) -> InitErrorDetails:
    """One of pydantic's errors as it is to be raised again."""
    kind = _custom(detail["msg"]) if detail["type"] == BROKEN else detail["type"]
    return InitErrorDetails(type=kind, loc=detail["loc"], input=detail["input"], ctx=detail.get("ctx", {}))


def _custom(message: str) -> PydanticCustomError:
    return PydanticCustomError(BROKEN, "{message}", {"message": message})
