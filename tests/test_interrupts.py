"""Signals that ask the command to end, wherever it is."""

from __future__ import annotations

import os
import signal
import threading

import pytest
import tvm

from jointdnn_tvm import interrupts
from jointdnn_tvm.interrupts import interruptible, let_interrupts_through


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_once(sig: signal.Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interrupts, "_TOGETHER_S", 100.0)
    started_with = signal.signal(sig, signal.SIG_DFL)  # under nohup, or in the background: ignored
    before = signal.getsignal(sig)
    with interruptible() as interruption:
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), sig)
        os.kill(os.getpid(), sig)  # passed on by a shell: the clean-up is not disturbed
        assert interruption.signal == sig
        monkeypatch.setattr(interrupts, "_TOGETHER_S", 0.0)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), sig)
    assert signal.getsignal(sig) is before
    signal.signal(sig, started_with)


def test_ignored_signals_stay_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with interruptible():
            os.kill(os.getpid(), signal.SIGHUP)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_handle_no_signals() -> None:
    seen = []

    def work() -> None:
        with interruptible() as interruption:
            seen.append((interruption.signal, signal.getsignal(signal.SIGTERM)))

    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [(signal.SIGINT, before)]


def test_an_interrupt_in_a_pass_is_no_error() -> None:
    @tvm.transform.module_pass(opt_level=0)
    def interrupted(module: tvm.IRModule, context: object) -> tvm.IRModule:
        raise KeyboardInterrupt

    let_interrupts_through()
    with pytest.raises(KeyboardInterrupt):
        tvm.transform.Sequential([interrupted])(tvm.IRModule({}))
