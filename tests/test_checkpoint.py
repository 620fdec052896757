"""Checkpoints are whole or not there, say what they are, and are kept two at a time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from jointdnn_tvm.errors import BundleError
from jointdnn_tvm.runtime import checkpoint
from jointdnn_tvm.runtime.checkpoint import (
    CheckpointFile,
    Run,
    checkpoint_files,
    read_checkpoint,
    write_checkpoint,
)
from jointdnn_tvm.runtime.manifest import sha256_of
from tests.tiny_models import Array

RUN = Run("0" * 32, "net", "ab" * 32, 5)
STATE: dict[str, Array] = {
    "w": np.arange(6.0, dtype=np.float32).reshape(2, 3),
    "n": np.array(7, np.int64),
}


def write(folder: Path, steps: int, change: float = 0.0) -> str:
    return write_checkpoint(
        folder, RUN, steps, {**STATE, "c": np.array(change)}, {"side": "mobile"}
    )


def test_what_was_written_is_read(tmp_path: Path) -> None:
    sha256 = write_checkpoint(tmp_path / "deep" / "er", RUN, 12, STATE, {"cloud": "cd" * 32})
    (file,) = checkpoint_files(tmp_path / "deep" / "er")
    assert (file.steps, file.sha256) == (12, sha256)
    assert sha256_of(file.path) == sha256
    run, state, about = read_checkpoint(file)
    assert run == RUN
    assert about["cloud"] == "cd" * 32
    assert state.keys() == STATE.keys()
    for name, array in STATE.items():
        np.testing.assert_array_equal(state[name], array)


def steps(folder: Path) -> list[int]:
    return [file.steps for file in checkpoint_files(folder)]


def test_the_last_two_are_kept(tmp_path: Path) -> None:
    for number in (3, 6, 100):
        write(tmp_path, number)
    assert steps(tmp_path) == [100, 6]


def test_steps_that_are_taken_again_replace_those_before(tmp_path: Path) -> None:
    """A run that went on from step 3, though there was a checkpoint of step 9."""
    for number in (3, 9):
        write(tmp_path, number)
    write(tmp_path, 6)
    assert steps(tmp_path) == [6, 3]
    write(tmp_path, 6, change=1.0)
    assert steps(tmp_path) == [6, 3]


def test_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / ".part-killed").write_text("half of something")
    write(tmp_path, 1)
    assert {path.name for path in tmp_path.iterdir()} >= {"notes.txt"}
    assert not (tmp_path / ".part-killed").exists()
    assert steps(tmp_path / "nowhere") == []
    assert steps(tmp_path / "notes.txt") == []


@pytest.mark.parametrize("step", ["write_weights", "sha256_of", "_to_disk"])
def test_failure_leaves_what_was_there(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)

    def fail(*_args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write(tmp_path, 2)
    assert steps(tmp_path) == [1]
    assert len(list(tmp_path.iterdir())) == 1


def test_damaged_file(tmp_path: Path) -> None:
    write(tmp_path, 1)
    (file,) = checkpoint_files(tmp_path)
    content = bytearray(file.path.read_bytes())
    for place in range(0, len(content), 97):
        content[place] ^= 1
        file.path.write_bytes(content)
        with pytest.raises(BundleError, match="is damaged: remove it, to go on from the one"):
            read_checkpoint(file)
        content[place] ^= 1
    file.path.unlink()
    with pytest.raises(BundleError, match="cannot be read"):
        read_checkpoint(file)


def test_file_of_another_format(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "FORMAT", "jointdnn-checkpoint/9")
    sha256 = write(tmp_path, 1)
    monkeypatch.undo()
    file = CheckpointFile(next(tmp_path.iterdir()), 1, sha256)
    with pytest.raises(BundleError, match=r"has format 'jointdnn-checkpoint/9', this version"):
        read_checkpoint(file)
