"""Exported programs on other kernels: sound ones pass, whatever they batch, and a wrong one fails.

Not collected by `make test`: a guest takes half a minute, and its kernel comes from Debian's
archive. `make test-vm` runs it.
"""

import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.case import Case, CaseError
from harness.casefile import read_case
from harness.export.plan import plan_of
from harness.export.sight import expected_of, shown_by, told_apart
from harness.export.text import layout_of, program
from harness.vm import boot, cpio, kernel, machine, session
from harness.vm.debian import Archive
from tests.debugged import Debugger, arguments
from tests.exported import OWN, ROOT, Ran, case_of, parse

KERNELS = ("6.12", "6.16", "6.17", "7.3")
SECONDS = 300
BUG = "zoo:first-page-is-folio-head"
# The program runs on the disk, whose file system asks for first writes.
INIT = """
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

int main(void)
{
	int tries, status = 0;
	char line[256], address[256] = "0";
	FILE *symbols;

	mount("proc", "/proc", "proc", 0, "");
	mount("sysfs", "/sys", "sysfs", 0, "");
	mount("devtmpfs", "/dev", "devtmpfs", 0, "");
	for (tries = 0; tries < 50 && mount("/dev/nvme0n1", "/disk", "ext4", 0, ""); tries++)
		usleep(100000);
	symbols = fopen("/proc/kallsyms", "r");
	while (fgets(line, sizeof(line), symbols))
		if (strstr(line, " change_pte_range\\n"))
			strcpy(address, line);
	/* Where the compiler inlined it there is no such symbol. */
	printf("ready %.16s \\n", address);
	fflush(stdout);
	if (chdir("/disk") || !fgets(line, sizeof(line), stdin))
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
# In change_pte_range(): the folio is loaded, asked whether it is anonymous, and then the page.
FOLIO_THEN_PAGE = re.compile(
    rb"\x48\x8b\x5c\x24(?P<folio>.).{0,40}?\xf6\x43\x18\x01.{0,40}?\x48\x8b\x5c\x24(?P<page>.)",
    re.DOTALL,
)

pytestmark = [
    pytest.mark.skipif(machine.own_arch() != "x86_64", reason="x86_64 alone is exported"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="NO C COMPILER"),
]


def exportable() -> dict[str, Case]:
    """All cases of the corpus, and of the tests, that can be exported."""
    found = {name: case_of(name) for name in OWN}
    for path in sorted((ROOT / "corpus").rglob("*.case")):
        case = read_case(path).case
        try:
            layout_of(case, path.stem)
        except CaseError:
            continue
        found["/".join(path.with_suffix("").parts[-2:])] = case
    return found


CASES = exportable()


def static(text: str, binary: Path) -> bytes:
    source = binary.with_suffix(".c")
    source.write_text(text)
    subprocess.run(["cc", "-O2", "-static", "-o", binary, source], check=True)
    return binary.read_bytes()


def run_in_guest(
    version: str, folder: Path, before: Callable[[int, Path], None] = lambda address, stub: None
) -> Ran:
    """What the program of CASES says on kernel `version`.

    `before` gets the address of change_pte_range() and the socket of qemu's stub.
    """
    board = machine.machine_of("x86_64")
    place = session.directory()
    archive = Archive(place / f"apt-{board.debian}", board.debian)
    image = kernel.find(version, board, archive, place / "kernels")
    text = program([layout_of(case, name) for name, case in CASES.items()])
    entries = [cpio.folder(path) for path in ("dev", "proc", "sys", "disk")]
    for path, source in (("init", INIT), ("test", text)):
        entries.append(cpio.file(path, static(source, folder / path), executable=True))
    with (folder / "initramfs").open("wb") as out:
        cpio.write(out, entries)
    guest = boot.Guest(board, image.path, folder / "initramfs", boot.make_disk(folder / "disk"))
    command = [*boot.command_line(guest, boot.require_qemu(board)), *arguments(folder / "stub")]
    lines: list[str] = []
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, errors="replace"
    ) as qemu:
        limit = threading.Timer(SECONDS, qemu.kill)
        limit.start()
        try:
            for line in qemu.stdout:
                lines.append(line.rstrip())
                if ready := re.search(r"ready ([0-9a-f]+) ", line):
                    before(int(ready[1], 16), folder / "stub")
                    qemu.stdin.write("go\n")
                    qemu.stdin.flush()
        finally:
            limit.cancel()
            qemu.kill()
    print(f"{image.name}: {len(CASES)} layouts")
    start = lines.index("TAP version 13")
    end = next(i for i, line in enumerate(lines) if line.startswith("exit code "))
    return parse(int(lines[end].split()[-1]), "\n".join(lines[start:end]) + "\n")


@pytest.mark.parametrize("version", KERNELS)
def test_sound(version: str, tmp_path: Path) -> None:
    ran = run_in_guest(version, tmp_path)
    assert len(CASES) > 40
    assert list(ran.results) == list(CASES)
    assert [line for line in ran.results.values() if not re.fullmatch(r"ok \d+ \S+", line)] == []
    assert ran.code == 0


def put_bug_back(address: int, stub: Path) -> None:
    """Let the batch's first page be its folio's, as cac1db8c3aad did: the operand of one load."""
    with Debugger(stub) as kernel_memory:
        code = kernel_memory.read(address, 0x1000)
        found = FOLIO_THEN_PAGE.search(code)
        if found is None:
            pytest.skip("ANOTHER COMPILER'S CODE: where to put the bug back is not known")
        kernel_memory.write(address + found.start("page"), found["folio"])


def test_wrong(tmp_path: Path) -> None:
    """Each page that the zoo's mutant shows is seen so on a kernel that has this bug."""
    ran = run_in_guest("6.17", tmp_path, put_bug_back)
    assert ran.code == 1
    failing = set()
    for name, case in CASES.items():
        plan = plan_of(case)
        if told_apart(case, plan, expected_of(case, plan), BUG) is None:
            continue
        failing.add(name)
        assert re.findall(r"seen +(\S+)", ran.told[name])[-1] == shown_by(case, plan, BUG)
    assert {name for name in CASES if ran.results[name].startswith("not ok")} == failing
    assert "mutants/first-page-is-folio-head" in failing
    assert "the child sees page 1 change" in ran.told["mutants/first-page-is-folio-head"]
