import os
import threading
import time

from jointdnn_tvm.runtime.deadline import watch


def test_acts_when_it_is_late_and_again_until_cancelled() -> None:
    times: list[float] = []
    twice = threading.Event()

    def act() -> None:
        times.append(time.monotonic())
        if len(times) == 2:
            twice.set()

    start = time.monotonic()
    alarm = watch(0.05, act)
    assert twice.wait(5)
    assert not alarm.cancel()
    assert times[0] - start >= 0.05
    count = len(times)
    time.sleep(0.25)
    assert len(times) == count


def test_does_nothing_once_cancelled() -> None:
    acted = threading.Event()
    assert watch(0.05, acted.set).cancel()
    assert not acted.wait(0.15)


def test_a_nearer_deadline_overtakes_a_farther_one() -> None:
    acted = threading.Event()
    far = watch(60, lambda: None)
    near = watch(0.02, acted.set)
    assert acted.wait(5)
    near.cancel()
    assert far.cancel()


def test_watches_in_a_forked_child_too() -> None:
    watch(60, lambda: None).cancel()  # the thread runs in the parent
    heard, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        watch(0.01, lambda: os.close(told))
        time.sleep(10)
        os._exit(0)
    os.close(told)
    try:
        assert os.read(heard, 1) == b""  # the child closed its end, the last one
    finally:
        os.close(heard)
        os.kill(pid, 9)
        os.waitpid(pid, 0)


def test_costs_little() -> None:
    watch(60, lambda: None).cancel()
    start = time.perf_counter()
    for _ in range(1000):
        watch(60, lambda: None).cancel()
    assert time.perf_counter() - start < 0.5
