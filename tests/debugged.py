"""Memory of a guest's kernel through qemu's stub for debuggers (gdb's remote protocol)."""

import socket
import time
from pathlib import Path

SECONDS = 20
CHUNK = 1024


def arguments(path: Path) -> list[str]:
    """What qemu is started with, so that its stub listens at the socket `path`."""
    return ["-chardev", f"socket,path={path},server=on,wait=off,id=stub", "-gdb", "chardev:stub"]


class Debugger:
    """A stopped guest; leaving the context lets it go on."""

    def __init__(self, path: Path) -> None:
        """Connect to the stub at `path`, which stops the guest."""
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(SECONDS)
        self._socket.connect(str(path))
        self._pending = b""

    def __enter__(self) -> "Debugger":
        time.sleep(0.5)
        return self

    def __exit__(self, *_: object) -> None:
        self._ask("D")
        self._socket.close()

    def read(self, address: int, size: int) -> bytes:
        """The bytes [address, address + size)."""
        return b"".join(
            bytes.fromhex(self._ask(f"m{at:x},{min(CHUNK, address + size - at):x}"))
            for at in range(address, address + size, CHUNK)
        )

    def write(self, address: int, content: bytes) -> None:
        """Write `content` there, code included."""
        assert self._ask(f"M{address:x},{len(content):x}:{content.hex()}") == "OK"

    def _ask(self, packet: str) -> str:
        data = packet.encode()
        self._socket.sendall(b"$%s#%02x" % (data, sum(data) & 0xFF))
        answer = self._answer()
        # That the guest has stopped is told unasked.
        while answer.startswith(("T", "S")):
            answer = self._answer()
        assert not answer.startswith("E"), f"{packet}: {answer}"
        return answer

    def _answer(self) -> str:
        while True:
            packet, end, rest = self._pending.partition(b"#")
            if end and len(rest) >= 2:
                self._pending = rest[2:]
                self._socket.sendall(b"+")
                return packet.split(b"$")[-1].decode()
            self._pending += self._socket.recv(1 << 16)
