"""Options that several verbs share."""

from collections.abc import Callable
from math import isnan
from pathlib import Path
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

ARCHES = ("x86_64", "arm64", "powerpc")
KERNELS = ("6.12", "6.16", "6.17", "6.18", "7.3")


class Seconds(click.FloatRange):
    """A positive number of seconds. `nan` is none: no time would ever be more."""

    def __init__(self, least: float | None = None) -> None:
        super().__init__(min=least or 0, min_open=least is None)

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """The number that `value` is; a usage error for what is none."""
        seconds = float(super().convert(value, param, ctx))
        if isnan(seconds):
            self.fail(f"{value!r} is not a number of seconds.", param, ctx)
        return seconds


arch = click.option(
    "--arch",
    type=click.Choice(ARCHES),
    help="Architecture; without it all that the target models, your own target on x86_64.",
)
only_arch = click.option(
    "--arch", type=click.Choice(ARCHES), help="Only what is of this architecture."
)
kernel = click.option(
    "--kernel",
    type=click.Choice(KERNELS),
    default="7.3",
    show_default=True,
    help="Kernel version that both sides model.",
)
target = click.option(
    "--target",
    default="batched",
    show_default=True,
    help="What is judged: batched, reference, zoo:NAME, mine.so or package.module:function.",
)
batching = click.option(
    "--batching",
    type=click.Choice(["exact", "any", "none"]),
    help="Which merges are legal: along the maximal batches (default), along any parts of them, "
    "or none, for a target that changes one entry at a time (default for reference).",
)
deny = click.option(
    "--deny",
    multiple=True,
    metavar="CLASS",
    help="Count an explained class as a divergence; may be given more than once.",
)
seed = click.option(
    "--seed",
    type=click.IntRange(0, (1 << 64) - 1),
    default=1,
    show_default=True,
    help="Which cases.",
)
# A campaign's results do not depend on it.
campaign_jobs = click.option(
    "--jobs", type=click.IntRange(1, 256), default=1, show_default=True, help="Processes."
)
jobs = click.option(
    "--jobs", type=click.IntRange(1, 64), default=2, show_default=True, help="Processes."
)
work = click.option(
    "--work",
    type=click.Path(file_okay=False, path_type=Path),
    help="Work directory [default: MIDFOLIO_WORK, else .midfolio/ of the checkout].",
)
matrix_out = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="With --matrix, the directory of matrix.json, which rows are added to, and matrix.md "
    "[default: .midfolio/matrix/ of the checkout].",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Print results only, no progress.")


def arches_of(target: str, arch: str | None) -> tuple[str, ...]:
    """The architectures to run `target` on; CaseError for one that it does not model."""
    from harness import zoo
    from harness.case import CaseError

    if target.startswith("zoo:"):
        known = zoo.find(target.removeprefix("zoo:")).arches
    else:
        known = ARCHES
    if arch is None:
        own = target.endswith(".so") or (":" in target and not target.startswith("zoo:"))
        return ("x86_64",) if own else known
    if arch not in known:
        raise CaseError(f"{target} is of {' and '.join(known)}, not of {arch}")
    return (arch,)


def legal_batching(batching: str | None, target: str) -> int:
    """What `--batching` means to the relation, for `target` where nothing is given."""
    from harness.relation import ANY, EXACT, NONE

    given = batching or ("none" if target == "reference" else "exact")
    return {"exact": EXACT, "any": ANY, "none": NONE}[given]


def denied_bits(names: tuple[str, ...]) -> int:
    """The class bits that `--deny` names; a usage error for a name that is none."""
    return class_bits(names, "--deny")


def class_bits(names: tuple[str, ...], option: str) -> int:
    """The class bits of `names`, given to `option`; a usage error for a name that is none."""
    from harness import classes

    bits = 0
    for name in names:
        if name not in classes.NUMBER:
            import difflib

            near = difflib.get_close_matches(name, classes.NUMBER, n=3) or ["accessed-merged"]
            raise click.BadParameter(
                f"unknown class {name!r}; did you mean {', '.join(near)}?", param_hint=option
            )
        bits |= 1 << classes.NUMBER[name]
    return bits


def picture(path: Path) -> None:
    """A usage error for a `--plot` that ends in neither of the two, before hours are spent on it."""
    if path.suffix not in (".svg", ".png"):
        raise click.BadParameter(
            f"{str(path)!r} ends in neither; expected .svg or .png", param_hint="--plot"
        )


def refuse_beside(option: str, allowed: tuple[str, ...], context: click.Context) -> None:
    """A usage error for anything on the command line beside `option` but the parameters `allowed`."""
    from click.core import ParameterSource

    for parameter in context.command.params:
        name = parameter.name or ""
        given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        # An argument that is not there counts as given, as an empty one.
        if given and context.params[name] != () and f"--{name}" != option and name not in allowed:
            what = parameter.opts[0] if isinstance(parameter, click.Option) else "arguments"
            raise click.UsageError(f"{option} measures by fixed operations; it takes no {what}")


def matrix_directory(out: Path | None) -> Path:
    """Where the table of kernels is: `out`, else in the checkout."""
    from mm.jit import ROOT

    return out or ROOT / ".midfolio" / "matrix"
