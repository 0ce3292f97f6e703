"""The exit codes, and the one place where an exception becomes one."""

import traceback
from collections.abc import Callable, Iterator
from enum import IntEnum

import click

from maintd.cli import output
from maintd.cli.invocation import Invocation
from maintd.errors import ConfigError, Locked, MaintdError, Unreachable, trouble
from maintd.names import printable


class Exit(IntEnum):
    """What a command says about how it went. LOCKED is EX_TEMPFAIL of sysexits.h: later it may work."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NO = 3
    UNREACHABLE = 4
    PARTLY = 5
    LOCKED = 75
    INTERRUPTED = 130


TABLE = """\
\b
Exit codes:
   0  ok
   1  failed
   2  wrong usage
   3  the answer is no (something failed; warnings under --strict)
   4  the daemon cannot be reached
   5  partly done (some steps failed, were put off or cut off)
  75  another maintd holds the lock
 130  interrupted
"""


def translate(command: Callable[[], int | None], invocation: Invocation) -> int:
    """Runs a command; whatever it raises is told on stderr, with a hint on the next line, and becomes an exit code."""
    try:
        return command() or (Exit.FAILED if output.is_lost() else Exit.OK)
    except (click.Abort, KeyboardInterrupt):
        return Exit.INTERRUPTED
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return Exit.USAGE
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "maintd"
        output.complain(f"maintd: {error.format_message()}", f"see {where} --help")
        return Exit.USAGE
    except (MaintdError, OSError, click.ClickException) as error:
        if invocation.debug:
            traceback.print_exc()
        if isinstance(error, OSError) and _is_of_click(error):
            output.lose(f"maintd: cannot write to stdout: {error.strerror}")
            return Exit.FAILED
        output.complain(*_message(error))
        return _code(error)


def _is_of_click(error: OSError) -> bool:
    """Whether click could not write what it says by itself: --help, --version."""
    return traceback.extract_tb(error.__traceback__)[-1].filename == click.utils.__file__


def _code(error: Exception) -> Exit:
    if isinstance(error, Unreachable):
        return Exit.UNREACHABLE
    return Exit.LOCKED if isinstance(error, Locked) else Exit.FAILED


def _message(error: Exception) -> Iterator[str]:
    if isinstance(error, ConfigError):
        yield from (str(problem) for problem in error.problems)
        yield from ([f"maintd: {error.hint}"] if error.hint else [])
        return
    if isinstance(error, click.ClickException):
        text, advice = error.format_message(), ""
    else:
        found = trouble(error)
        text, advice = found.error_msg, found.advice
    yield f"maintd: {text if text.isprintable() else printable(text)}"
    yield from [f"        {advice}"] if advice else []


def usage(message: str) -> click.UsageError:
    """The error of a command line that cannot be meant."""
    return click.UsageError(message, click.get_current_context(silent=True))
