"""Boots a guest under qemu, emulated, and brings its report back.

Everything that a run made stays in a folder of its own: the console, the
kernel's log, what the command printed.
"""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..contain import die_with_parent
from ..lane import LaneMissing
from . import report
from .machine import Machine

MEMORY_MIB = 1024
# The initramfs and the disk of a run, in its folder until it ends.
IMAGES = "images"
# The folders of the last runs that are kept.
KEPT_RUNS = 50


class Guest(NamedTuple):
    """What to boot."""

    machine: Machine
    kernel: Path
    initramfs: Path
    disk: Path | None


def command_line(guest: Guest, qemu: str) -> list[str]:
    """The arguments of qemu for `guest`."""
    machine = guest.machine
    disk = []
    if guest.disk is not None:
        # NVMe, because Debian's cloud kernels have its driver built in, and virtio's as a module.
        drive = f"id=disk,if=none,format=raw,cache=unsafe,file={guest.disk}"
        disk = ["-drive", drive, "-device", "nvme,serial=midfolio,drive=disk"]
    # Without address randomisation runs are alike; -1 reboots at once, and qemu then ends.
    append = (
        f"console={machine.console} nokaslr panic=-1 oops=panic quiet transparent_hugepage=madvise"
    )
    return [
        qemu,
        *machine.options,
        *("-accel", "tcg", "-m", str(MEMORY_MIB), "-smp", "1"),
        *("-nodefaults", "-nographic", "-no-reboot", "-serial", "stdio"),
        *("-kernel", str(guest.kernel), "-initrd", str(guest.initramfs)),
        *disk,
        *("-append", append),
    ]


def require_qemu(machine: Machine) -> str:
    """The path of the emulator; LaneMissing if it is not installed."""
    found = shutil.which(machine.qemu)
    if found is None:
        raise LaneMissing(
            f"{machine.qemu} is not installed; on Debian: apt-get install {machine.package}"
        )
    return found


def run(
    guest: Guest, folder: Path, limit: float, progress: Callable[[str], None] = lambda line: None
) -> report.Report:
    """Boot `guest`, wait for its end at most `limit` seconds, and return its report.

    `folder` gets console.log, and from the report kernel.log, stdout.txt and
    stderr.txt. `progress` hears each line of the console. BadReport if the guest
    sent none, or was ended at the limit.
    """
    qemu = require_qemu(guest.machine)
    folder.mkdir(parents=True, exist_ok=True)
    console = folder / "console.log"
    late = not _watch(command_line(guest, qemu), console, time.monotonic() + limit, progress)
    text = console.read_text(errors="replace")
    try:
        found = report.parse(text)
    except report.BadReport as error:
        if late:
            raise report.BadReport(f"not done within {limit:g} s, so ended; {error}") from None
        raise
    for name, content in (
        ("kernel.log", found.kernel_log),
        ("stdout.txt", found.stdout),
        ("stderr.txt", found.stderr),
    ):
        (folder / name).write_text(content)
    return found


def _watch(
    command: list[str], console: Path, until: float, progress: Callable[[str], None]
) -> bool:
    """Run `command` with its output in `console` up to the time `until`; whether it ended itself."""
    with console.open("wb") as out, console.open("rb") as seen:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
        try:
            while process.poll() is None:
                if time.monotonic() > until:
                    return False
                time.sleep(0.1)
                for line in seen.read().decode(errors="replace").splitlines():
                    if said := report.printable(line):
                        progress(said)
            return True
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait()


def make_disk(path: Path, mib: int = 128) -> Path | None:
    """An empty disk with an ext4, for files whose pages are written back; None without mke2fs."""
    mke2fs = shutil.which("mke2fs", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if mke2fs is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as disk:
        disk.truncate(mib << 20)
    done = subprocess.run(
        [mke2fs, "-q", "-F", "-t", "ext4", str(path)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise LaneMissing(f"mke2fs failed: {' '.join(done.stderr.split())}")
    return path


def new_folder(directory: Path, name: str) -> Path:
    """A new folder for one run below `directory`, the oldest beyond KEPT_RUNS removed.

    So are the images of runs that were killed: a hundred megabytes each.
    """
    directory.mkdir(parents=True, exist_ok=True)
    runs = sorted(path for path in directory.iterdir() if path.is_dir())
    for old in runs[: max(len(runs) - KEPT_RUNS + 1, 0)]:
        shutil.rmtree(old, ignore_errors=True)
    for run_folder in runs:
        if not Path(f"/proc/{run_folder.name.split('-')[2]}").exists():
            shutil.rmtree(run_folder / IMAGES, ignore_errors=True)
    stamp = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    folder = directory / f"{stamp}-{os.getpid()}-{name}"
    folder.mkdir()
    return folder
