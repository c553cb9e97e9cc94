"""Options that several verbs share."""

from collections.abc import Callable
from typing import Any

import click

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

ARCHES = ("x86_64",)
KERNELS = ("6.12", "6.16", "6.17", "6.18", "7.3")

arch = click.option(
    "--arch", type=click.Choice(ARCHES), default="x86_64", show_default=True, help="Architecture."
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
    help="What is judged: batched, reference, zoo:NAME or package.module:function.",
)
batching = click.option(
    "--batching",
    type=click.Choice(["exact", "any"]),
    default="exact",
    show_default=True,
    help="Which merges are legal: along the maximal batches, or along any parts of them.",
)
deny = click.option(
    "--deny",
    multiple=True,
    metavar="CLASS",
    help="Count an explained class as a divergence; may be given more than once.",
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON value on stdout.")
quiet = click.option("--quiet", "-q", is_flag=True, help="Print results only, no progress.")


def denied_bits(names: tuple[str, ...]) -> int:
    """The class bits that `--deny` names; a usage error for a name that is none."""
    from harness import classes

    bits = 0
    for name in names:
        if name not in classes.NUMBER:
            import difflib

            near = difflib.get_close_matches(name, classes.NUMBER, n=3) or ["accessed-merged"]
            raise click.BadParameter(
                f"unknown class {name!r}; did you mean {', '.join(near)}?", param_hint="--deny"
            )
        bits |= 1 << classes.NUMBER[name]
    return bits
