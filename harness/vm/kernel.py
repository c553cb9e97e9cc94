"""The kernel image that a guest boots: Debian's, or a file of one's own."""

import re
from pathlib import Path
from typing import NamedTuple

from ..case import CaseError
from ..lane import LaneMissing
from ..whole import write_whole
from .debian import Archive, members
from .machine import Machine
from .selection import check_spec, kernels, newest

_IMAGE = re.compile(r"(boot/vmlinuz-.+|usr/lib/modules/[^/]+/vmlinuz)")


class Image(NamedTuple):
    """A kernel image and what to call it."""

    path: Path
    name: str  # for people: its release, or its path
    note: str  # what there is to say about where it came from, or ""


def find(spec: str, machine: Machine, archive: Archive, directory: Path) -> Image:
    """The image that `spec` names: a file, if there is a / in it, else a version of Debian's.

    An image is kept in `directory`; one that is there is not fetched again.
    CaseError for an unknown version or file, LaneMissing if it cannot be fetched.
    """
    if "/" in spec:
        path = Path(spec)
        if not path.is_file():
            raise CaseError(f"{spec}: no such file; expected a kernel image, as bzImage or Image")
        return Image(path, spec, "")
    check_spec(spec)
    flavour = f"cloud-{machine.debian}"
    names = rf"linux-(image|binary)-[0-9].*-{flavour}"
    kernel = newest(kernels(archive.packages(names), flavour), spec, flavour)
    path = directory / f"vmlinuz-{kernel.release}"
    if not path.exists():
        _extract(archive.download(kernel.package, kernel.version), path)
    return Image(path, kernel.release, archive.note)


def _extract(deb: Path, path: Path) -> None:
    for _, content in members(deb, _IMAGE):
        write_whole(path, content)
        # A hundred megabytes of modules that no guest loads.
        deb.unlink()
        return
    raise LaneMissing(f"there is no kernel image in {deb.name}")
