"""Which linker is taken, and what is said when there is none or it fails."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from jointdnn_tvm.errors import LinkError
from jointdnn_tvm.linking import find_linker
from jointdnn_tvm.targets import TargetProfile, load_target


def profile(*linker: str) -> TargetProfile:
    return replace(load_target("host"), linker=linker, linker_package="the-package")


@pytest.fixture
def objects(tmp_path: Path) -> list[str]:
    source = tmp_path / "one.c"
    source.write_text("int one(void) { return 1; }\n")
    result = tmp_path / "one.o"
    subprocess.run(["cc", "-fPIC", "-c", source, "-o", result], check=True)
    return [str(result)]


def test_missing_linkers_are_named_with_the_package() -> None:
    with pytest.raises(LinkError, match=r"needs the linker no-such-ld or .*package the-package$"):
        find_linker(profile("no-such-ld", "no-other"))


def test_a_variable_that_would_help_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_NDK", raising=False)
    with pytest.raises(LinkError, match=r"package the-package or set MY_NDK$"):
        find_linker(profile("$MY_NDK/bin/clang", "${MY_NDK}/bin/ld"))
    monkeypatch.setenv("MY_NDK", "/nowhere")
    with pytest.raises(LinkError, match=r"package the-package$"):
        find_linker(profile("$MY_NDK/bin/clang"))


def test_the_first_that_is_here_links(
    tmp_path: Path, objects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_LD", "")
    monkeypatch.setenv("MY_LD", "cc -Wl,--as-needed")
    output = tmp_path / "one.so"
    find_linker(profile("no-such-ld", "$NO_LD", "$MY_LD", "false"))(str(output), objects)
    assert output.stat().st_size > 0


def test_a_package_of_this_python_may_be_the_linker(
    tmp_path: Path, objects: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    linker = "python -m my_ld"
    with pytest.raises(LinkError, match="needs the linker python -m my_ld"):
        find_linker(profile(linker))
    (tmp_path / "my_ld.py").write_text(
        "import subprocess, sys\nsys.exit(subprocess.call(['cc', *sys.argv[1:]]))\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    output = tmp_path / "one.so"
    find_linker(profile(linker))(str(output), objects)
    assert output.stat().st_size > 0


@pytest.mark.parametrize(
    ("linker", "told"),
    [
        ("false", "with false failed: exit 1"),
        ("true", "with true failed: exit 0"),
        ("sh -c 'echo bad >&2; exit 3' ld", "with sh failed: bad"),
    ],
)
def test_failure_is_told(linker: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(LinkError, match=f"^linking for target host {told}$"):
        find_linker(profile(linker))(str(tmp_path / "one.so"), [])
