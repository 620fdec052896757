"""The phone of `testbed.py`: reads jobs from standard input, a JSON line each, and answers each.

It is a process of its own, so that it can be slowed down alone and put on one end of the link.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import ModuleType
from typing import Any

import numpy as np

from jointdnn_tvm.runtime import cloud, training_cloud
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.link_probe import probe_path
from jointdnn_tvm.runtime.open_training import open_training
from jointdnn_tvm.runtime.session import open_session
from jointdnn_tvm.runtime.stage_module import StageModule

_EMULATED = {"budget_s": 6.0, "shortest_s": 0.05}  # it is stopped in a rhythm
_OUT_OF_STEP_S = 0.008  # of computing, several times what it runs at a stretch
_LEARNING_RATE = 1e-6

Array = np.ndarray[Any, Any]


class Phone:
    """The jobs that it does."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._answer: Callable[[], object] | None = None
        self._own_s = 0.0
        for method in ("run", "run_on_device"):
            self._time_stages(method)
        self._bytes = {"up": 0, "down": 0}
        self._count_messages(cloud, "encode")
        self._count_messages(training_cloud, "encode_pieces")

    def _time_stages(self, method: str) -> None:
        run = getattr(StageModule, method)

        def timed(module: StageModule, *arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return run(module, *arguments)
            finally:
                self._own_s += time.perf_counter() - started

        setattr(StageModule, method, timed)

    def _count_messages(self, module: ModuleType, encoder: str) -> None:
        encode, decode = getattr(module, encoder), module.decode

        def sent(*arguments: Any) -> Any:
            message = encode(*arguments)
            self._bytes["up"] += _size_bytes(message)
            return message

        def received(message: bytes) -> Any:
            self._bytes["down"] += len(message)
            return decode(message)

        setattr(module, encoder, sent)
        module.decode = received

    def open(
        self, bundle: str, cloud: str, key: str, inputs: str | None = None, timeout_s: float = 600
    ) -> None:
        """Open a session for a bundle; `inputs` is an ``.npz`` file, else they are seeded noise."""
        self.close()
        session = self._open.enter_context(
            open_session(bundle, cloud=cloud, key=key, timeout_s=timeout_s)
        )
        if inputs is None:
            rng = np.random.default_rng(0)
            given: dict[str, Array] = {
                name: rng.standard_normal(shape).astype(dtype)
                for name, shape, dtype in session.signature()
            }
        else:
            given = dict(np.load(inputs))

        def answer() -> None:
            session.run(given)
            if session.cloud_error:
                raise RuntimeError(session.cloud_error)

        self._answer = answer

    def open_training(
        self, bundle: str, cloud: str, key: str, inputs: str, timeout_s: float = 600
    ) -> None:
        """Begin a run of training; a query is a step, on the inputs and ``label`` of a file."""
        self.close()
        trainer = self._open.enter_context(
            open_training(bundle, cloud=cloud, key=key, timeout_s=timeout_s)
        )
        given = dict(np.load(inputs))
        label = given.pop("label")
        self._answer = lambda: trainer.step(given, label, learning_rate=_LEARNING_RATE)

    def run(self, least: int, most: int, seconds: float) -> list[tuple[float, float]]:
        """Seconds of each query, and those of them that the phone's own stages took.

        One query goes before that is not counted (pages of weights, thread pool). At least so many
        count, and no more once they took so many `seconds` or are `most`. Before each the phone
        computes for a random moment, so that queries do not fall into step with what stops it.
        """
        answer = self._answer
        assert answer is not None, "open a bundle first"
        answer()
        taken: list[tuple[float, float]] = []
        source = random.Random(0)
        began = time.perf_counter()
        while len(taken) < least or (len(taken) < most and time.perf_counter() < began + seconds):
            _compute(source.uniform(0, _OUT_OF_STEP_S))
            self._own_s = 0.0
            self._bytes.update(up=0, down=0)
            started = time.perf_counter()
            answer()
            taken.append((time.perf_counter() - started, self._own_s))
        return taken

    def crossed(self) -> dict[str, int]:
        """Bytes of all messages of the last query, by direction."""
        return self._bytes

    def probe(self, cloud: str, key: str, timeout_s: float = 60) -> dict[str, Any]:
        """Time the path to the cloud's device server as `jointdnn_tvm.probing` has it timed."""
        self.close()
        times = probe_path(Address.parse(cloud), key, timeout_s, **_EMULATED)
        return times.to_json()

    def close(self) -> None:
        """End what is open."""
        self._answer = None
        self._open.close()


def _size_bytes(message: bytes | Sequence[bytes]) -> int:
    """Of a message, or of its pieces."""
    return len(message) if isinstance(message, bytes) else sum(map(len, message))


def _compute(seconds: float) -> None:
    """Keep the processor busy for so long."""
    until = time.thread_time() + seconds
    while time.thread_time() < until:
        pass


def main() -> None:
    """Does jobs until standard input ends."""
    phone = Phone()
    for line in sys.stdin:
        arguments = json.loads(line)
        try:
            result = getattr(phone, arguments.pop("job"))(**arguments)
            answer = {"result": result}
        except Exception as error:  # the bench tells
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
