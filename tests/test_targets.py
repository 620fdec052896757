"""The target and link profiles that come with the package, and wrong ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from jointdnn_tvm import targets
from jointdnn_tvm.errors import ProfileError
from jointdnn_tvm.targets import link_names, load_link, load_target, target_names
from jointdnn_tvm.targets.host import _caches, _clock_hz, _vectors

TARGETS = {
    "android-arm64", "cuda-sm80", "cuda-sm87", "cuda-sm90", "host", "jetson-orin-nano",
    "jetson-tx2", "raspberry-pi-4", "raspberry-pi-5",
}  # fmt: skip
LINKS = {
    "huang2012-3g", "huang2012-4g", "huang2012-wifi", "lan-1g", "narayanan2021-5g-low",
    "narayanan2021-5g-mmwave", "narayanan2021-lte",
}  # fmt: skip

TARGET_TOML = (Path(targets.__file__).parent / "raspberry-pi-4.toml").read_text()
LINK_TOML = (Path(targets.__file__).parent / "links" / "huang2012-4g.toml").read_text()


def test_the_public_names() -> None:
    assert set(target_names()) == TARGETS
    assert set(link_names()) == LINKS
    assert all(hasattr(targets, name) for name in targets.__all__)


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_a_target_is_complete(name: str) -> None:
    target = load_target(name)
    assert target.name == name
    assert target.kind == ("cuda" if name.startswith("cuda") else "cpu")
    assert target.tvm_target["kind"] == ("cuda" if target.kind == "cuda" else "llvm")
    if target.kind == "cpu":
        assert target.tvm_target["num-cores"] == target.cores
    assert target.lanes * 32 == target.vector_bits
    assert 0 < target.idle_w < target.busy_w
    assert target.power_source.startswith(f"model:{name} (")
    assert target.linker
    assert target.linker_package
    json.dumps(target.to_json(), allow_nan=False)


@pytest.mark.parametrize(
    "name", ["android-arm64", "jetson-orin-nano", "jetson-tx2", "raspberry-pi-4", "raspberry-pi-5"]
)
def test_ports_and_clock_make_the_peak(name: str) -> None:
    board = load_target(name)
    a_cycle = board.fma_ports * board.lanes * 2
    assert board.peak_flops == pytest.approx(board.cores * board.clock_hz * a_cycle)


def test_the_host_describes_this_machine() -> None:
    host = load_target("host")
    assert host.cores >= 1
    assert host.tvm_target["mcpu"] == "native"
    assert host.vector_bits in (128, 256, 512)


@pytest.mark.parametrize(
    ("name", "transmit_w"),
    [("huang2012-3g", 1.774), ("huang2012-4g", 3.853), ("huang2012-wifi", 5.479)],
)
def test_radio_power_is_the_published_one(name: str, transmit_w: float) -> None:
    assert load_link(name).transmit_w == pytest.approx(transmit_w, abs=1e-3)


@pytest.mark.parametrize("name", sorted(LINKS))
def test_a_link_is_complete(name: str) -> None:
    link = load_link(name)
    assert link.name == name
    assert link.source
    assert link.note
    assert link.year is not None
    json.dumps(link.to_json(), allow_nan=False)


def test_a_link_may_have_a_short_name() -> None:
    assert load_link("4g") == load_link("huang2012-4g")


def test_a_link_may_be_given_by_its_rates() -> None:
    link = load_link("up=5.85e6, down=13.76e6, rtt=0.05")
    assert (link.uplink_bps, link.downlink_bps, link.rtt_s) == (5.85e6, 13.76e6, 0.05)
    assert (link.transmit_w, link.receive_w, link.idle_w) == (0, 0, 0)
    assert load_link("up=1,down=1").rtt_s == 0


def test_the_radio_power_of_a_profile_follows_its_rates() -> None:
    link = load_link("huang2012-4g,up=1e6,rtt=0.07")
    assert link.rtt_s == 0.07
    assert link.downlink_bps == load_link("huang2012-4g").downlink_bps
    assert link.transmit_w == pytest.approx(0.43839 + 1.28804)


def test_a_tail_is_there_only_where_it_is_given(tmp_path: Path) -> None:
    assert all(load_link(name).tail_j == 0 for name in LINKS)
    assert all(load_link(name).idle_w == 0 for name in LINKS)
    (tmp_path / "air.toml").write_text(f"{LINK_TOML}tail_w = 1.06\ntail_s = 11.6\n")
    link = load_link(str(tmp_path / "air.toml"))
    assert link.tail_j == pytest.approx(12.296)
    assert link.idle_w == 1.06
    assert link.to_json()["tail_j"] == link.tail_j


def test_the_phone_is_taken_off_whole_phone_power() -> None:
    lte, old = load_link("narayanan2021-lte"), load_link("huang2012-4g")
    assert lte.without_phone(1.0).transmit_w == pytest.approx(lte.transmit_w - 1.0)
    assert lte.without_phone(1.0).without_phone(1.0) == lte.without_phone(1.0)
    assert old.without_phone(1.0) == old


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("5g", "unknown link '5g': known are huang2012-3g, "),
        ("up=1e6", "has no down=; write it as up=5.85e6,down=13.76e6,rtt=0.05"),
        ("up=1e6,down=fast", "'down=fast' is not a number"),
        ("up=0,down=1", "up must be above 0"),
        ("up=nan,down=1", "up must be above 0"),
        ("up=1,down=1,rtt=-1", "rtt must be 0 or more"),
        ("up=1,down=1,rtt=inf", "rtt must be 0 or more"),
        ("up=1,down=1,loss=1", "'loss=1' is not understood"),
        ("up=1,up=2,down=1", "'up=2' is not understood"),
        ("4g,", "'' is not understood"),
        ("", "unknown link ''"),
        ("missing.toml", "cannot read profile 'missing.toml': No such file"),
    ],
)
def test_a_wrong_link_is_one_clear_line(spec: str, message: str) -> None:
    with pytest.raises(ProfileError) as caught:
        load_link(spec)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_unknown_target_lists_the_known() -> None:
    with pytest.raises(ProfileError, match=r"unknown target 'pi'.*jetson-tx2.*\.toml file"):
        load_target("pi")


def test_a_profile_may_be_a_path(tmp_path: Path) -> None:
    (tmp_path / "board.toml").write_text(TARGET_TOML)
    (tmp_path / "air.toml").write_text(LINK_TOML)
    assert load_target(str(tmp_path / "board.toml")).name == "board"
    assert load_link(str(tmp_path / "air.toml")).uplink_bps == 5.85e6


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("\ncores = 4", "\ncore = 4", "[compute]: key 'cores' is missing; add it"),
        ("l3_bytes", "l4_bytes", "[memory]: unknown key 'l4_bytes'; did you mean l"),
        ('kind = "cpu"', 'kind = "npu"', "kind is 'npu'; use cpu or cuda"),
        ("clock_hz = 1.5e9", "clock_hz = 0", "clock_hz must be above 0, not '0'"),
        ("clock_hz = 1.5e9", "clock_hz = nan", "clock_hz must be above 0, not 'nan'"),
        ("busy_w = 6.4", "busy_w = -6.4", "busy_w must be 0 or more, not '-6.4'"),
        ("busy_w = 6.4", "busy_w = true", "busy_w must be a number, not 'True'"),
        ("busy_w = 6.4", "busy_w = 1.0", "busy_w is below idle_w"),
        ("vector_bits = 128", "vector_bits = 1.5", "vector_bits must be a whole number"),
        ('kind = "llvm"', "", "[tvm_target] has no kind"),
        ('package = "', 'package = 3 # "', "[linker]: package must be a text, not '3'"),
        ("[power]", "[powers]", "[power]: key 'busy_w' is missing"),
        ("[power]", "[power", "is not TOML: "),
    ],
)
def test_a_wrong_target_is_one_clear_line(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "board.toml"
    assert old in TARGET_TOML
    path.write_text(TARGET_TOML.replace(old, new, 1))
    with pytest.raises(ProfileError) as caught:
        load_target(str(path))
    assert message in str(caught.value)
    assert str(path) in str(caught.value)


def test_unreadable_profiles(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ProfileError, match="not UTF-8"):
        load_link(str(tmp_path / "binary.toml"))
    with pytest.raises(ProfileError, match="cannot read profile"):
        load_target(f"{tmp_path}/")
    (tmp_path / "air.toml").write_text(LINK_TOML.replace("rtt_s", "rtt"))
    with pytest.raises(ProfileError, match="key 'rtt_s' is missing"):
        load_link(str(tmp_path / "air.toml"))


def test_vectors_by_the_flags_of_the_processor() -> None:
    assert _vectors("flags\t\t: fpu sse2 avx avx2", "x86_64") == (256, 16)
    assert _vectors("flags\t\t: avx2 avx512f", "x86_64") == (512, 32)
    assert _vectors("Features\t: fp asimd", "aarch64") == (128, 32)
    assert _vectors("", "x86_64") == (128, 16)


def test_a_machine_that_tells_nothing(tmp_path: Path) -> None:
    assert _caches(tmp_path) == {}
    assert _clock_hz("") > 0


@pytest.mark.parametrize(
    ("name", "times_peak"), [("cuda-sm80", 8), ("cuda-sm87", 4), ("cuda-sm90", 4.6), ("host", 0)]
)
def test_what_tensor_cores_reach(name: str, times_peak: float) -> None:
    target = load_target(name)
    assert target.tensor_flops == pytest.approx(times_peak * target.peak_flops, rel=0.02)
    assert not target.cuda_graphs
