"""The phone of `testbed.py`: reads jobs from standard input, a JSON line each, and answers each.

It is a process of its own, so that it can be slowed down alone and put on one end of the link.
"""

from __future__ import annotations

import json
import random
import sys
import time
from contextlib import ExitStack
from typing import Any

import numpy as np

from jointdnn_tvm.runtime import cloud
from jointdnn_tvm.runtime.address import Address
from jointdnn_tvm.runtime.link_probe import probe_path
from jointdnn_tvm.runtime.open_training import open_training
from jointdnn_tvm.runtime.session import Session, open_session
from jointdnn_tvm.runtime.stage_module import StageModule
from jointdnn_tvm.runtime.trainer import Trainer

_EMULATED = {"budget_s": 6.0, "shortest_s": 0.05}  # it is stopped in a rhythm
_OUT_OF_STEP_S = 0.008  # of computing, several times what it runs at a stretch


class Phone:
    """The jobs that it does."""

    def __init__(self) -> None:
        self._open = ExitStack()
        self._session: Session | None = None
        self._trainer: Trainer | None = None
        self._inputs: dict[str, np.ndarray[Any, Any]] = {}
        self._own_s = 0.0
        run = StageModule.run

        def timed(module: StageModule, *arguments: Any) -> Any:
            started = time.perf_counter()
            try:
                return run(module, *arguments)
            finally:
                self._own_s += time.perf_counter() - started

        StageModule.run = timed  # type: ignore[method-assign]
        self._bytes = {"up": 0, "down": 0}
        encode, decode = cloud.encode, cloud.decode

        def sent(*arguments: Any) -> bytes:
            message = encode(*arguments)
            self._bytes["up"] += len(message)
            return message

        def received(message: bytes) -> Any:
            self._bytes["down"] += len(message)
            return decode(message)

        cloud.encode, cloud.decode = sent, received

    def open(
        self, bundle: str, cloud: str, key: str, inputs: str | None = None, timeout_s: float = 600
    ) -> None:
        """Open a session for a bundle; `inputs` is an ``.npz`` file, else they are seeded noise."""
        self.close()
        session = open_session(bundle, cloud=cloud, key=key, timeout_s=timeout_s)
        self._session = self._open.enter_context(session)
        if session.cloud_error:
            raise RuntimeError(session.cloud_error)
        if inputs is None:
            rng = np.random.default_rng(0)
            self._inputs = {
                name: rng.standard_normal(shape).astype(dtype)
                for name, shape, dtype in session.signature()
            }
        else:
            self._inputs = dict(np.load(inputs))

    def run(self, least: int, most: int, seconds: float) -> list[tuple[float, float]]:
        """Seconds of each query, and those of them that the phone's own stages took.

        One query goes before that is not counted (pages of weights, thread pool). At least so many
        count, and no more once they took so many `seconds` or are `most`. Before each the phone
        computes for a random moment, so that queries do not fall into step with what stops it.
        """
        session = self._session
        assert session is not None, "open a bundle first"
        session.run(self._inputs)
        taken: list[tuple[float, float]] = []
        source = random.Random(0)
        began = time.perf_counter()
        while len(taken) < least or (len(taken) < most and time.perf_counter() < began + seconds):
            _compute(source.uniform(0, _OUT_OF_STEP_S))
            self._own_s = 0.0
            self._bytes.update(up=0, down=0)
            started = time.perf_counter()
            session.run(self._inputs)
            taken.append((time.perf_counter() - started, self._own_s))
        if session.cloud_error:
            raise RuntimeError(session.cloud_error)
        return taken

    def open_training(
        self, bundle: str, cloud: str, key: str, batch: str, timeout_s: float = 600
    ) -> None:
        """Open a run of training; `batch` is an ``.npz`` file with the inputs and ``label``."""
        self.close()
        trainer = open_training(bundle, cloud=cloud, key=key, timeout_s=timeout_s)
        self._trainer = self._open.enter_context(trainer)
        self._inputs = dict(np.load(batch))

    def train(self, steps: int, learning_rate: float) -> list[tuple[float, int]]:
        """Seconds of each step, and bytes of its messages; one goes before that is not counted."""
        trainer = self._trainer
        assert trainer is not None, "open a run first"
        inputs = {name: array for name, array in self._inputs.items() if name != "label"}
        taken: list[tuple[float, int]] = []
        for _ in range(steps + 1):
            started, bytes_before = time.perf_counter(), trainer.link_bytes
            trainer.step(inputs, self._inputs["label"], learning_rate=learning_rate)
            taken.append((time.perf_counter() - started, trainer.link_bytes - bytes_before))
        return taken[1:]

    def crossed(self) -> dict[str, int]:
        """Bytes of all messages of the last query, by direction."""
        return self._bytes

    def probe(self, cloud: str, key: str, timeout_s: float = 60) -> dict[str, Any]:
        """Time the path to the cloud's device server as `jointdnn_tvm.probing` has it timed."""
        self.close()
        times = probe_path(Address.parse(cloud), key, timeout_s, **_EMULATED)
        return times.to_json()

    def close(self) -> None:
        """End the session."""
        self._open.close()


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
