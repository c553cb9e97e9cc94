"""The command group: each verb is a module of `fuzz.verbs`, imported when it is called."""

import importlib

import click

from .cli import EPILOG, SUMMARY, VERBS


class Verbs(click.Group):
    """A group that imports a verb's module only to run it."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of the table."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of verb `cmd_name`, None if there is no such verb."""
        if cmd_name not in VERBS:
            return None
        command: click.Command = importlib.import_module(f"fuzz.verbs.{cmd_name}").command
        return command


@click.command(
    cls=Verbs,
    help=SUMMARY,
    epilog=EPILOG,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(package_name="midfolio")
def group() -> None:
    """Do nothing but dispatch; the help text is `fuzz.cli.SUMMARY`."""
