"""`maintd schema`: the JSON Schema of the config."""

import json

import click

from maintd.cli import output


@click.command(
    short_help="Print the JSON Schema of the config.",
    epilog="\b\nExample:\n  maintd schema > /etc/maintd/maintd.schema.json",
)
def schema() -> None:
    """Prints the JSON Schema of the config, with which editors complete and check it."""
    from maintd.schema import schema as schema_of_config  # noqa: PLC0415 - imports every kind of job

    output.say(json.dumps(schema_of_config(), indent=2, ensure_ascii=False))
