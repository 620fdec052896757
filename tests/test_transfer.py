"""What crossings cost beside the link, and the link as crossings find it."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jointdnn_tvm.cost.transfer import Transfer
from jointdnn_tvm.placement import Link
from jointdnn_tvm.runtime.exchange_times import ExchangeTimes
from jointdnn_tvm.runtime.link_probe import PathTimes

rates_bps = st.floats(1e5, 1e10)
costs = st.floats(0, 1e-6)
watts = st.floats(0, 10)
sizes = st.floats(0, 1e7)


@given(rates_bps, rates_bps, costs, costs, costs, sizes, sizes)
def test_a_visit_takes_the_link_and_the_processors(
    up_bps: float, down_bps: float, a: float, up_c: float, down_c: float, up: float, down: float
) -> None:
    link = Link(up_bps, down_bps, rtt_s=0.03)
    found = Transfer(a, up_c, down_c, 1e9, 1e9).over(link, busy_w=0)
    visit_s = found.upload_s(up) + found.download_s(down) + 2 * (found.rtt_s / 2)
    assert visit_s == pytest.approx(
        0.03 + a + up * (8 / up_bps + up_c) + down * (8 / down_bps + down_c)
    )


@given(rates_bps, costs, costs, watts, watts, watts)
def test_the_radio_takes_the_time_of_the_bits_and_the_processor_the_rest(
    rate_bps: float, up_c: float, down_c: float, transmit_w: float, receive_w: float, busy_w: float
) -> None:
    link = Link(rate_bps, rate_bps, 0.01, transmit_w, receive_w, idle_w=0.5, tail_j=0.1)
    found = Transfer(0.001, up_c, down_c, 1e9, 1e9).over(link, busy_w)
    bits_s = 8 * 1000 / rate_bps
    assert found.transmit_w * found.upload_s(1000) == pytest.approx(
        transmit_w * bits_s + busy_w * 1000 * up_c, abs=1e-15
    )
    assert found.receive_w * found.download_s(1000) == pytest.approx(
        receive_w * bits_s + busy_w * 1000 * down_c, abs=1e-15
    )
    assert (found.idle_w, found.tail_j) == (0.5, 0.1)


def test_it_is_what_messages_take_over_plain_bytes() -> None:
    times = PathTimes(
        link=ExchangeTimes(0.02, 8e-6, 4e-6, 0.01), messages=ExchangeTimes(0.021, 9e-6, 6e-6, 0.02)
    )
    found = Transfer.of(times, "measured:messages emulated slowdown 6x")
    assert found.call_s == pytest.approx(0.001)
    assert found.up_s_per_byte == pytest.approx(1e-6)
    assert found.down_s_per_byte == pytest.approx(2e-6)
    assert found.uplink_bps == pytest.approx(1e6)
    assert found.downlink_bps == pytest.approx(2e6)
    assert found.error == 0.02
    assert found.source == "measured:messages emulated slowdown 6x"
    assert PathTimes.from_json(times.to_json()) == times


@given(rates_bps, st.floats(0, 1), costs, costs, costs)
def test_the_links_own_values_are_found_again(
    rate_bps: float, rtt_s: float, a: float, up_c: float, down_c: float
) -> None:
    transfer = Transfer(a, up_c, down_c, 1e9, 1e9)
    found = transfer.over(Link(rate_bps, rate_bps, rtt_s), busy_w=0)
    assert transfer.own_value("rtt_s", found.rtt_s) == pytest.approx(rtt_s)
    for condition in ("uplink_bps", "downlink_bps"):
        own = transfer.own_value(condition, getattr(found, condition))
        assert 8 / own == pytest.approx(8 / rate_bps, rel=1e-6, abs=1e-15)
    assert transfer.own_value("slowdown", 3.0) == 3.0


def test_no_link_is_faster_than_what_packs_the_messages() -> None:
    transfer = Transfer(0.01, 2e-7, 0, 1e9, 1e9)
    assert transfer.own_value("uplink_bps", 3.9e7) > 1e9
    assert transfer.own_value("uplink_bps", 4.1e7) == math.inf
    assert transfer.own_value("downlink_bps", 4.1e7) == pytest.approx(4.1e7)
    assert transfer.own_value("rtt_s", 0.005) == 0


def test_on_a_slow_link_noise_makes_no_message_cheaper_than_its_bytes() -> None:
    bytes_only = ExchangeTimes(0.02, 8e-6, 4e-6, 0.01)
    found = Transfer.of(PathTimes(bytes_only, ExchangeTimes(0.019, 7e-6, 3e-6, 0.01)))
    assert (found.call_s, found.up_s_per_byte, found.down_s_per_byte) == (0, 0, 0)
