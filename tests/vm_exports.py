"""Exported programs on other kernels: they pass on any, batched or not, with soft-dirty bits too.

Not collected by `make test`: a guest takes half a minute, and its kernel comes from Debian's
archive. `make test-vm` runs it.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

from harness.case import CaseError
from harness.casefile import read_case
from harness.export.text import Layout, layout_of, program
from harness.vm import boot, cpio, kernel, machine, session
from harness.vm.debian import Archive
from tests.test_export import OWN, ROOT, case_of

KERNELS = ("6.12", "6.16", "6.17", "7.3")
SECONDS = 300
# The program runs on the disk, whose file system asks for first writes.
INIT = """
#include <stdio.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int tries, status = 0;

	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	for (tries = 0; tries < 50 && mount("/dev/nvme0n1", "/disk", "ext4", 0, ""); tries++)
		usleep(100000);
	if (chdir("/disk"))
		return 1;
	if (!fork())
		_exit(execl("/test", "test", "-e", (char *)0));
	wait(&status);
	printf("exit code %d\\n", WEXITSTATUS(status));
	fflush(stdout);
	sleep(1);
	return reboot(RB_AUTOBOOT);
}
"""

pytestmark = [
    pytest.mark.skipif(machine.own_arch() != "x86_64", reason="x86_64 alone is exported"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="NO C COMPILER"),
]


def layouts() -> list[Layout]:
    """All of the corpus and of the tests that can be exported."""
    found = [layout_of(case_of(name), name) for name in OWN]
    for path in sorted((ROOT / "corpus").rglob("*.case")):
        try:
            found.append(layout_of(read_case(path).case, path.stem))
        except CaseError:
            continue
    return found


def static(text: str, binary: Path) -> bytes:
    source = binary.with_suffix(".c")
    source.write_text(text)
    subprocess.run(["cc", "-O2", "-static", "-o", binary, source], check=True)
    return binary.read_bytes()


@pytest.mark.parametrize("version", KERNELS)
def test_every_kernel_passes(version: str, tmp_path: Path) -> None:
    board = machine.machine_of("x86_64")
    place = session.directory()
    archive = Archive(place / f"apt-{board.debian}", board.debian)
    image = kernel.find(version, board, archive, place / "kernels")
    found = layouts()
    entries = [cpio.folder(path) for path in ("dev", "proc", "sys", "disk")]
    for path, text in (("init", INIT), ("test", program(found))):
        entries.append(cpio.file(path, static(text, tmp_path / path), executable=True))
    with (tmp_path / "initramfs").open("wb") as out:
        cpio.write(out, entries)
    guest = boot.Guest(board, image.path, tmp_path / "initramfs", boot.make_disk(tmp_path / "disk"))
    done = subprocess.run(
        boot.command_line(guest, boot.require_qemu(board)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    lines = done.stdout.decode(errors="replace").replace("\r", "").splitlines()
    assert [line for line in lines if line.startswith("not ok") or "# SKIP" in line] == []
    print(f"{image.name}: {len(found)} layouts")
    assert len(found) > 40
    total = f"# Totals: pass:{len(found)} fail:0 xfail:0 xpass:0 skip:0 error:0"
    assert lines.index(total) < lines.index("exit code 0")
