"""Modelled times of codecs: all of them, on the lines that they are read from."""

from __future__ import annotations

from dataclasses import replace

import pytest

from jointdnn_tvm.cost import codec_model
from jointdnn_tvm.cost.codec_model import model_codecs
from jointdnn_tvm.cost.codec_times import codec_times, codec_workloads, timed_codecs
from jointdnn_tvm.targets import load_target

PHONE = load_target("raspberry-pi-4")


def test_cycles_over_the_clock() -> None:
    found = model_codecs(PHONE)
    assert found.keys() == set(codec_workloads())
    assert {m.source for m in found.values()} == {"model:cycles of codecs"}
    for name, time in codec_times(found).items():
        encode, decode = codec_model._CYCLES[name]
        assert time.encode.s_per_byte == pytest.approx(encode / 1.5e9)
        assert time.decode.s_per_byte == pytest.approx(decode / 1.5e9)
        assert time.encode.fixed_s == pytest.approx(1e5 / 1.5e9)


def test_a_gpu_leaves_them_to_its_host() -> None:
    gpu = load_target("cuda-sm90")
    assert model_codecs(gpu) == model_codecs(replace(gpu, clock_hz=1.0))


def test_no_codec_without_a_figure() -> None:
    assert set(timed_codecs()) <= codec_model._CYCLES.keys()
