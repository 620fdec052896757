"""The process of a phone that trains, and opens its run again whenever it loses the cloud.

Run as `python -m tests.phone_that_trains BUNDLE CLOUD CHECKPOINTS STEPS EVERY RESULT`.
"""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path

import numpy as np

import jointdnn_tvm as jd
from jointdnn_tvm.errors import DeviceError
from tests.training_runs import MLP, RATE

TIMEOUT_S = 3.0


def main(bundle: str, cloud: str, kept: str, steps: int, every: int, result: Path) -> None:
    while True:
        try:
            with jd.open_training(
                bundle, cloud=cloud, checkpoints=kept, seed=3, timeout_s=TIMEOUT_S
            ) as trainer:
                while trainer.steps < steps:
                    number = trainer.steps
                    inputs, labels = MLP.batch(number)
                    rate = RATE / (1 + number)
                    trainer.step({"x": inputs}, labels, learning_rate=rate)
                    if trainer.steps % every == 0:
                        trainer.checkpoint()
                weights = trainer.weights()
        except DeviceError as error:
            logging.warning("%s", error)
            time.sleep(0.1)
        else:
            np.savez(result, **weights)  # type: ignore[arg-type]
            return


if __name__ == "__main__":
    bundle, cloud, kept, steps, every, result = sys.argv[1:]
    main(bundle, cloud, kept, int(steps), int(every), Path(result))
