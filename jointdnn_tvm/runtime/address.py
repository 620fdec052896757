"""HOST:PORT, the way every part of a deployment is named."""

from __future__ import annotations

from dataclasses import dataclass

from jointdnn_tvm.errors import DeviceError


@dataclass(frozen=True)
class Address:
    """Where a tracker or a device server listens."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read ``HOST:PORT`` or ``[IPV6]:PORT``; DeviceError says what is wrong with it."""
        host, colon, port = text.strip().rpartition(":")
        bracketed = host.startswith("[") and host.endswith("]")
        if bracketed:
            host = host[1:-1]
        if not colon or not host or (":" in host and not bracketed):
            raise DeviceError(f"{text!r} is not an address; write HOST:PORT, as 127.0.0.1:9190")
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise DeviceError(f"{text!r} has no port from 1 to 65535; write it as 127.0.0.1:9190")
        return cls(host, int(port))

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")

    def __str__(self) -> str:
        """For messages."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
