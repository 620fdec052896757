"""Find the socket that a library has opened in this process and does not give out."""

from __future__ import annotations

import os
import socket
import stat
from contextlib import suppress


class NewSockets:
    """The TCP sockets to one address that were opened since this object was made."""

    def __init__(self, host: str, port: int) -> None:
        self._peer = (host, port)
        self._before = _sockets()

    def find(self) -> list[socket.socket]:
        """Duplicates of them, those still on their way included; the caller closes them."""
        found = []
        for fd, inode in _sockets().items():
            if self._before.get(fd) == inode:
                continue
            with suppress(OSError):  # closed meanwhile
                link = socket.socket(fileno=os.dup(fd))
                if self._fits(link):
                    found.append(link)
                else:
                    link.close()
        return found

    def shut_down(self) -> None:
        """Make every call that is blocked in one of them fail now."""
        for link in self.find():
            with link, suppress(OSError):
                link.shutdown(socket.SHUT_RDWR)

    def _fits(self, link: socket.socket) -> bool:
        if link.family not in (socket.AF_INET, socket.AF_INET6) or link.type != socket.SOCK_STREAM:
            return False
        try:
            return bool(link.getpeername()[:2] == self._peer)
        except OSError:  # not connected yet; a listening socket is none of ours
            return not link.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)


def _sockets() -> dict[int, int]:
    """File descriptor and inode of every open socket of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            state = os.fstat(int(name))
            if stat.S_ISSOCK(state.st_mode):
                found[int(name)] = state.st_ino
    return found
