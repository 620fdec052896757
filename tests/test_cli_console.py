"""Progress: lines on a pipe, bars on a terminal, nothing on stdout."""

from __future__ import annotations

import sys

import pytest

from jointdnn_tvm.cli import console


def test_plain_lines_now_and_then(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    with console.progress() as report:
        for done in range(41):
            report("compiling", done, 40)
            now[0] += 0.5
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [f"compiling: {done} of 40" for done in (0, 10, 20, 30, 40)]


def test_each_step_has_its_own_rhythm(capsys: pytest.CaptureFixture[str]) -> None:
    with console.progress() as report:
        report("compiling", 1, 9)
        report("measuring", 1, 9)
        report("compiling", 2, 9)
        report("measuring", 9, 9)
    assert capsys.readouterr().err.splitlines() == [
        "compiling: 1 of 9",
        "measuring: 1 of 9",
        "measuring: 9 of 9",
    ]


def test_bars_on_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    with console.progress() as report:
        report("compiling", 0, 4)
        report("compiling", 4, 4)
        report("measuring", 1, 2)
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in ("compiling", "4/4", "measuring", "1/2"):
        assert text in captured.err


def test_error_inside_passes_through() -> None:
    def interrupted() -> None:
        with console.progress() as report:
            report("compiling", 0, 1)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()


def test_note_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    console.note("nothing was measured")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "nothing was measured\n")
