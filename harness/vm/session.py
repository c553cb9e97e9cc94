"""One run of midfolio in a guest, from the version of its kernel to what came back."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from mm.jit import ROOT

from .. import findings
from ..case import CaseError
from ..whole import write_whole
from . import boot, initramfs, kernel, userland
from .debian import Archive
from .machine import Machine, own_arch
from .report import Report

# Which Python a guest gets.
OWN = "own"
DEBIAN = "debian"


class Session(NamedTuple):
    """What a run left."""

    kernel: str
    note: str  # what there is to say about where the kernel came from, or ""
    folder: Path
    report: Report
    findings: tuple[Path, ...]


def directory() -> Path:
    """Where packages, kernels and logs of guests are kept: MIDFOLIO_VM, else in the checkout."""
    return Path(os.environ.get("MIDFOLIO_VM", ROOT / ".midfolio" / "vm"))


def python_for(machine: Machine, python: str | None) -> str:
    """Which Python a guest of `machine` gets: `python`, else the running one where it fits."""
    own = own_arch()
    if python == OWN and machine.arch != own:
        raise CaseError(
            f"the running Python is of {own or 'another architecture'}; "
            f"expected --python {DEBIAN} for a guest of {machine.arch}"
        )
    return python or (OWN if machine.arch == own else DEBIAN)


@contextmanager
def _alone(place: Path) -> Iterator[None]:
    """Hold the lock of `place`: two runs at a time must not fetch and unpack into one folder."""
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def run(
    spec: str,
    machine: Machine,
    command: list[str],
    python: str,
    limit: float,
    progress: Callable[[str], None] = lambda line: None,
) -> Session:
    """Run midfolio with the arguments `command` on the kernel that `spec` names, emulated.

    `python` is OWN or DEBIAN; a whole guest takes at most `limit` seconds. Findings
    of the guest are copied to where this machine's are. CaseError for an unknown
    kernel, LaneMissing for what is not here, BadReport for a guest that said nothing.
    """
    boot.require_qemu(machine)
    place = directory()
    archive = Archive(place / f"apt-{machine.debian}", machine.debian)
    with _alone(place):
        progress(f"looking for kernel {spec}")
        image = kernel.find(spec, machine, archive, place / "kernels")
        progress("gathering a Python for the guest")
        land = userland.own() if python == OWN else userland.debian(archive, machine, place)
        folder = boot.new_folder(place / "runs", Path(image.name).name)
    images = folder / boot.IMAGES
    try:
        disk = boot.make_disk(images / "disk")
        archive_path = images / "initramfs"
        initramfs.build(archive_path, land, command, disk=disk is not None)
        progress(f"booting {image.name}")
        guest = boot.Guest(machine, image.path, archive_path, disk)
        report = boot.run(guest, folder, limit, progress)
    finally:
        shutil.rmtree(images, ignore_errors=True)
    return Session(image.name, image.note, folder, report, copy_findings(report.files))


def copy_findings(files: dict[str, str]) -> tuple[Path, ...]:
    """Write the case files of a guest to the findings of this machine, and return their paths."""
    place = findings.directory()
    written = []
    for name, text in sorted(files.items()):
        # A guest's kernel may be a broken one: names are taken with care.
        if Path(name).name != name or not name.endswith(".case"):
            continue
        write_whole(place / name, text)
        written.append(place / name)
    return tuple(written)
