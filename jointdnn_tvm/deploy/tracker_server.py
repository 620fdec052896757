"""TVM's RPC tracker in this very process, so that ending the process ends the tracker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from tornado import ioloop
from tvm.rpc import base, tracker

from jointdnn_tvm.deploy.sockets import listen
from jointdnn_tvm.runtime.address import Address


def serve_tracker(
    host: str, port: int, ready: Callable[[Address], None], stop_at_end_of: int | None = None
) -> None:
    """Run a tracker until SIGTERM, SIGINT or the end of that pipe; `ready` gets its address."""
    with listen(host, port) as listener:
        asyncio.set_event_loop(asyncio.new_event_loop())
        handler = tracker.TrackerServerHandler(listener, base.random_key("tracker"))
        loop = ioloop.IOLoop.current()

        def stop(*_: object) -> None:
            loop.add_callback_from_signal(handler.stop)

        previous = {s: signal.signal(s, stop) for s in (signal.SIGTERM, signal.SIGINT)}
        if stop_at_end_of is not None:
            loop.add_handler(stop_at_end_of, stop, loop.READ)
        ready(Address(host, listener.getsockname()[1]))
        try:
            handler.run()
        finally:
            for sig, old in previous.items():
                signal.signal(sig, old)
            loop.close()
