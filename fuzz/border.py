"""The border of the command: every error becomes one line and an exit code."""

import errno
import os
import sys

import click

from . import exits
from .commands import group

# Errors of the place that a file was to be read from or written to.
_PLACE = (
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
)


def run() -> int:
    """Run the verb that the command line names; the exit code."""
    try:
        code = group.main(prog_name="midfolio", standalone_mode=False)
        # Not sys.stdout.flush(): who closed stdout has none.
        print(end="", flush=True)
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
        _drop_output()
        return exits.OK
    except OSError as error:
        return unwritten(error)
    except Exception as error:
        return _unexpected(error)


def unwritten(error: OSError) -> int:
    """Say that a full disk, or a place that cannot be used, ended the command; the exit code."""
    reason = error.strerror or str(error)
    if os.environ.get("MIDFOLIO_TRACEBACK"):
        raise error
    if error.errno in exits.FULL:
        if error.filename is None:
            # It would be written again, and fail again, when Python ends.
            _drop_output()
        return _fail(exits.INTERNAL, f"cannot write {_place(error) or 'the output'}: {reason}")
    if error.errno in _PLACE and error.filename is not None:
        return _fail(exits.BAD_INPUT, f"{_place(error)}: {reason}")
    return _unexpected(error)


def _place(error: OSError) -> str:
    """The file that `error` is about: where two are named, the second one is written."""
    name = error.filename if error.filename2 is None else error.filename2
    return "" if name is None else os.fsdecode(name)


def _drop_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


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
