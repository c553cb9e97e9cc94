"""The first process of a guest: mounts, runs one command, reports, and reboots.

It runs there as a script of its own, so it imports the standard library only.
Its orders are in ORDERS: `command`, `environment`, `folder`, `files`.
"""

import base64
import ctypes
import hashlib
import json
import os
import subprocess
import sys
import threading
import time
import traceback
import zlib
from pathlib import Path
from typing import Any

ORDERS = Path("/midfolio-orders.json")
STARTED = "midfolio-vm: the command starts"
BEGIN = "midfolio-vm: report begins"
END = "midfolio-vm: report ends "

MOUNTS = (
    ("proc", "/proc", "proc"),
    ("sysfs", "/sys", "sysfs"),
    ("devtmpfs", "/dev", "devtmpfs"),
    ("tmpfs", "/tmp", "tmpfs"),
    ("tracefs", "/sys/kernel/tracing", "tracefs"),
    ("bpf", "/sys/fs/bpf", "bpf"),
)
DISK = "/dev/nvme0n1"
DISK_SECONDS = 5
# linux/reboot.h; glibc's wrapper supplies the magic numbers.
RB_AUTOBOOT = 0x0123_4567
# syslog(2).
READ_ALL = 3
CONSOLE_LEVEL = 8
KERNEL_LOG_BYTES = 1 << 20
# More than that of files would be findings of one kind.
FILES_BYTES = 4 << 20

libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, place: str, kind: str) -> bool:
    """Mount, and say whether it went well: a kernel may lack a file system."""
    os.makedirs(place, exist_ok=True)
    return bool(libc.mount(source.encode(), place.encode(), kind.encode(), 0, None) == 0)


def mount_disk(place: str) -> None:
    """Mount the guest's disk, which its driver may still be looking for; a kernel may have none."""
    for _ in range(DISK_SECONDS * 10):
        if Path(DISK).exists():
            break
        time.sleep(0.1)
    if not mount(DISK, place, "ext4"):
        say(f"midfolio-vm: no disk: {os.strerror(ctypes.get_errno())}")


def say(line: str) -> None:
    """Print a line of its own on the console."""
    sys.stdout.write(f"\n{line}\n")
    sys.stdout.flush()


def copied(stream: Any, into: list[str]) -> threading.Thread:
    """A thread that copies each line of `stream` to the console and to `into`."""

    def copy() -> None:
        with stream:
            for line in stream:
                into.append(line)
                sys.stdout.write(line)
                sys.stdout.flush()

    thread = threading.Thread(target=copy)
    thread.start()
    return thread


def run(orders: dict[str, Any]) -> dict[str, Any]:
    """Run the command of `orders` and return what `harness.vm.report.Report` has."""
    boot_seconds = float(Path("/proc/uptime").read_text().split()[0])
    started = time.monotonic()
    process = subprocess.Popen(
        orders["command"],
        cwd=orders["folder"],
        env={**os.environ, **orders["environment"]},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    said: tuple[list[str], list[str]] = ([], [])
    streams = (process.stdout, process.stderr)
    threads = [copied(stream, into) for stream, into in zip(streams, said, strict=True)]
    for thread in threads:
        thread.join()
    exit_code = process.wait()
    return {
        "exit_code": exit_code,
        "stdout": "".join(said[0]),
        "stderr": "".join(said[1]),
        "release": os.uname().release,
        "boot_seconds": boot_seconds,
        "run_seconds": time.monotonic() - started,
        "kernel_log": kernel_log(),
        "files": left(Path(orders["files"])),
    }


def kernel_log() -> str:
    """Everything that the kernel said."""
    buffer = ctypes.create_string_buffer(KERNEL_LOG_BYTES)
    size = libc.klogctl(READ_ALL, buffer, KERNEL_LOG_BYTES)
    return buffer.raw[: max(size, 0)].decode(errors="replace")


def left(folder: Path) -> dict[str, str]:
    """The text files of `folder` by name, as many as FILES_BYTES hold."""
    found: dict[str, str] = {}
    room = FILES_BYTES
    for path in sorted(folder.glob("*")):
        if path.is_file() and not path.name.startswith(".") and path.stat().st_size <= room:
            room -= path.stat().st_size
            found[path.name] = path.read_text(errors="replace")
    return found


def frame(report: dict[str, Any]) -> str:
    """`report` as lines that `harness.vm.report.parse` reads."""
    packed = zlib.compress(json.dumps(report, sort_keys=True).encode())
    text = base64.b64encode(packed).decode()
    lines = [text[at : at + 76] for at in range(0, len(text), 76)]
    return "\n".join([BEGIN, *lines, END + hashlib.sha256(packed).hexdigest()])


def main() -> None:
    """Do all of it; whatever happens, the guest ends."""
    try:
        for source, place, kind in MOUNTS:
            mount(source, place, kind)
        orders = json.loads(ORDERS.read_text())
        if orders["disk"]:
            mount_disk(orders["disk"])
        say(STARTED)
        report = run(orders)
        libc.klogctl(CONSOLE_LEVEL, None, 1)
        say(frame(report))
    except BaseException:
        say(traceback.format_exc())
    finally:
        os.sync()
        # The console's last bytes leave before the machine does.
        ctypes.CDLL(None).tcdrain(1)
        libc.reboot(RB_AUTOBOOT)


if __name__ == "__main__":
    main()
