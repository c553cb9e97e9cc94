"""The border of the command: every error becomes one line and an exit code."""

import os
import sys

import click

from . import exits
from .commands import group


def run() -> int:
    """Run the verb that the command line names; the exit code."""
    try:
        code = group.main(prog_name="midfolio", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else exits.OK
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "midfolio"
        return _fail(exits.BAD_INPUT, f"{error.format_message()} (see {where} --help)")
    except click.ClickException as error:
        return _fail(exits.BAD_INPUT, error.format_message())
    except (click.Abort, KeyboardInterrupt):
        return _fail(exits.INTERRUPTED_TWICE, "interrupted")
    except exits.NotWritten as error:
        return _fail(exits.INTERNAL, str(error))
    except BrokenPipeError:
        # The reader went away, as `| head` does; that is its good right.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return exits.OK
    except Exception as error:
        return _unexpected(error)


def _unexpected(error: Exception) -> int:
    # Imported here: a usage error does not need `harness`.
    from harness.case import CaseError

    if isinstance(error, CaseError):
        return _fail(exits.BAD_INPUT, str(error))
    if os.environ.get("MIDFOLIO_TRACEBACK"):
        raise error
    return _fail(
        exits.INTERNAL,
        f"internal error: {type(error).__name__}: {error} (MIDFOLIO_TRACEBACK=1 shows where)",
    )


def _fail(code: int, message: str) -> int:
    print("midfolio: " + " ".join(message.split()), file=sys.stderr)
    return code
