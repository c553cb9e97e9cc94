"""Which of Debian's kernel packages is meant by a version."""

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ..case import CaseError

_SPEC = re.compile(r"\d+(\.\d+){0,2}")
_FIELD = re.compile(r"^(Package|Version): (\S+)$", re.MULTILINE)


class Kernel(NamedTuple):
    """A package that holds a kernel."""

    numbers: tuple[int, int, int]
    release: str  # what `uname -r` prints
    package: str
    version: str  # of the package

    @property
    def version_text(self) -> str:
        """The version of upstream, as 6.12.117."""
        return ".".join(map(str, self.numbers))


def kernels(packages: str, flavour: str) -> list[Kernel]:
    """The kernels of `flavour` (cloud-amd64) in the text of a Packages file, oldest first.

    Since 6.19 the package linux-image-* is empty, and linux-binary-* has the kernel.
    """
    name = re.compile(
        rf"linux-(image|binary)-((\d+)\.(\d+)(?:\.(\d+))?(?:[+-][\w.+~]+)??-{re.escape(flavour)})"
    )
    found: dict[str, Kernel] = {}
    for package, version in _stanzas(packages):
        match = name.fullmatch(package)
        if match is None:
            continue
        kind, release, *numbers = match.groups()
        major, minor, patch = (int(number or 0) for number in numbers)
        if kind == "binary" or release not in found:
            found[release] = Kernel((major, minor, patch), release, package, version)
    return sorted(found.values())


def _stanzas(packages: str) -> Iterator[tuple[str, str]]:
    for stanza in packages.split("\n\n"):
        fields = dict(_FIELD.findall(stanza))
        if "Package" in fields and "Version" in fields:
            yield fields["Package"], fields["Version"]


def check_spec(spec: str) -> None:
    """Refuse what is no version (CaseError)."""
    if not _SPEC.fullmatch(spec):
        raise CaseError(
            f"unknown kernel {spec!r}; expected a version as 6.12, 6.18.9 or 7, or the path of a "
            f"kernel image with a / in it"
        )


def newest(found: Iterable[Kernel], spec: str, flavour: str) -> Kernel:
    """The newest kernel whose version begins with `spec`; CaseError with those that there are."""
    found = list(found)
    wanted = tuple(int(number) for number in spec.split("."))
    fitting = [kernel for kernel in found if kernel.numbers[: len(wanted)] == wanted]
    if fitting:
        return max(fitting)
    series = {kernel.numbers[:2]: kernel.version_text for kernel in sorted(found)}
    there = ", ".join(series.values()) or "none"
    raise CaseError(f"no kernel {spec} among Debian's {flavour} packages; found {there}")
