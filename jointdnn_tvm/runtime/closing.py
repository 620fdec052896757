"""What is opened and must be closed, as a block of `with`."""

from __future__ import annotations

from typing import TypeVar

Opened = TypeVar("Opened", bound="Closing")


class Closing:
    """A block of `with` that has it; the end of the block closes it, however it ends."""

    def close(self) -> None:
        """Give back what it holds; nothing to do when that was done."""
        raise NotImplementedError

    def __enter__(self: Opened) -> Opened:
        """It is open already."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Close."""
        self.close()
