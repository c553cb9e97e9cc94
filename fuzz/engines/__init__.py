"""Engines other than the compiled loops: each a `Campaign` that gets its cases from elsewhere.

One module for each, imported when it is asked for. An engine may need a package that
is not there everywhere, which `missing` says before anything runs.
"""

from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..runner import Campaign

# By engine: the module here, the package that it needs, the extra that installs it.
_ENGINES = {
    "hypothesis": ("with_hypothesis", "hypothesis", "test"),
    "atheris": ("with_atheris", "atheris", "atheris"),
}
NAMES = ("random", "guided", *_ENGINES)
# Those that are worth running interpreted only, and have a module here.
SLOW = tuple(_ENGINES)
# Cases of a campaign without a budget: a minute or so.
DEFAULT_CASES = {"random": 1_000_000, "guided": 1_000_000, "hypothesis": 5_000, "atheris": 10_000}


def missing(engine: str) -> str:
    """Why `engine` cannot run here, in one line; "" if it can."""
    if engine not in _ENGINES:
        return ""
    _, package, extra = _ENGINES[engine]
    if find_spec(package) is not None:
        return ""
    return (
        f"the {engine} engine needs the package {package}, which is not installed; "
        f"pip install -e '.[{extra}]'"
    )


def module_of(engine: str) -> ModuleType:
    """The module of an engine that has one here: its `CAMPAIGN`, and `first_finding` for `zoo bench`."""
    return import_module(f".{_ENGINES[engine][0]}", __name__)


def campaign_of(engine: str) -> "type[Campaign]":
    """The kind of campaign that `engine` runs."""
    if engine not in _ENGINES:
        from ..runner import Campaign

        return Campaign
    made: type[Campaign] = module_of(engine).CAMPAIGN
    return made
