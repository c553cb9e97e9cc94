"""The machines that can be booted: one record for each architecture."""

import platform
from typing import NamedTuple

from ..lane import LaneMissing


class Machine(NamedTuple):
    """What qemu, Debian and the running interpreter call an architecture."""

    arch: str
    debian: str  # Debian's name of the architecture
    uname: str  # what `uname -m` prints on it
    triplet: str  # the folder of its shared libraries in Debian
    qemu: str
    package: str  # Debian's package with this qemu
    options: tuple[str, ...]  # the emulated board
    console: str  # the kernel's name of its first serial port


MACHINES = {
    machine.arch: machine
    for machine in (
        Machine(
            arch="x86_64",
            debian="amd64",
            uname="x86_64",
            triplet="x86_64-linux-gnu",
            qemu="qemu-system-x86_64",
            package="qemu-system-x86",
            # Four levels of page tables: what the reader of page tables is measured on.
            options=("-cpu", "max,la57=off,erms=off,fsrm=off"),
            console="ttyS0",
        ),
        Machine(
            arch="arm64",
            debian="arm64",
            uname="aarch64",
            triplet="aarch64-linux-gnu",
            qemu="qemu-system-aarch64",
            package="qemu-system-arm",
            options=("-M", "virt", "-cpu", "max,lpa2=off,pauth-impdef=on"),
            console="ttyAMA0",
        ),
    )
}


def own_arch() -> str | None:
    """The architecture of this machine, None if no guest is of it."""
    for machine in MACHINES.values():
        if platform.machine() == machine.uname:
            return machine.arch
    return None


def machine_of(arch: str | None) -> Machine:
    """The record of `arch`, by default of this machine; LaneMissing if no guest is of that."""
    chosen = arch or own_arch()
    if chosen is None:
        raise LaneMissing(
            f"this machine is {platform.machine()}; a guest is {' or '.join(MACHINES)}: give --arch"
        )
    return MACHINES[chosen]
