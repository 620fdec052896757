"""Link profiles: rates, round-trip time and radio power as data.

A profile is a TOML file in ``links/`` (or any path)::

    description = "…"
    alias = "4g"                  # a second name, if any
    year = 2012                   # of the figures: radios change
    source = "…"
    note = "…"                    # what is nominal, what was not read in print
    uplink_bps = 5.85e6
    downlink_bps = 13.76e6
    rtt_s = 0.0

    [power]                       # W = w_per_mbps * Mbit/s + base_w, at the rates above
    transmit_w_per_mbps = 0.43839
    transmit_base_w = 1.28804
    receive_w_per_mbps = 0.05197
    receive_base_w = 1.28804
    idle_w = 0.0                  # what waiting for the cloud costs
    tail_w = 0.0                  # what the radio takes after a burst, before it rests
    tail_s = 0.0                  # and for how long; may be left out, and is 0 then
    whole_phone = false           # true: the base has the phone's own idle power in it
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from jointdnn_tvm.errors import ProfileError
from jointdnn_tvm.targets.schema import HERE, Fields, find_profile, profile_names, read_toml

LINKS = HERE / "links"
SPEC = "up=5.85e6,down=13.76e6,rtt=0.05"

_SPEC_KEYS = {"up": "uplink_bps", "down": "downlink_bps", "rtt": "rtt_s"}


@dataclass(frozen=True)
class RadioPower:
    """Power in W as a line over the rate in Mbit/s (Huang et al., MobiSys 2012)."""

    transmit_w_per_mbps: float = 0.0
    transmit_base_w: float = 0.0
    receive_w_per_mbps: float = 0.0
    receive_base_w: float = 0.0
    idle_w: float = 0.0
    tail_w: float = 0.0
    tail_s: float = 0.0
    whole_phone: bool = False


@dataclass(frozen=True)
class LinkProfile:
    """Rates in bit/s, round-trip time in s, radio power in W at these rates."""

    name: str
    description: str
    uplink_bps: float
    downlink_bps: float
    rtt_s: float
    power: RadioPower
    year: int | None
    source: str
    note: str

    @property
    def how(self) -> str:
        """How its figures were got, in a word: a model by its name, or what measured them."""
        return self.source if self.source.startswith("measured:") else f"model:{self.name}"

    @property
    def transmit_w(self) -> float:
        """Radio power while sending at the uplink rate."""
        return self.power.transmit_w_per_mbps * self.uplink_bps / 1e6 + self.power.transmit_base_w

    @property
    def receive_w(self) -> float:
        """Radio power while receiving at the downlink rate."""
        return self.power.receive_w_per_mbps * self.downlink_bps / 1e6 + self.power.receive_base_w

    @property
    def idle_w(self) -> float:
        """Radio power while the mobile waits for the cloud, which a tail goes on through."""
        return max(self.power.idle_w, self.power.tail_w)

    @property
    def tail_j(self) -> float:
        """Radio energy after the last burst, when the next query comes later than that."""
        return self.power.tail_w * self.power.tail_s

    def without_phone(self, phone_idle_w: float) -> LinkProfile:
        """The radio alone: takes the phone's idle power off figures that contain it."""
        if not self.power.whole_phone:
            return self
        radio = replace(
            self.power,
            transmit_base_w=max(0.0, self.power.transmit_base_w - phone_idle_w),
            receive_base_w=max(0.0, self.power.receive_base_w - phone_idle_w),
            whole_phone=False,
        )
        return replace(self, power=radio)

    def to_json(self) -> dict[str, Any]:
        """The profile as a document of plain JSON types, with the power at its rates."""
        at_rates = {"transmit_w": self.transmit_w, "receive_w": self.receive_w}
        return {**asdict(self), **at_rates, "idle_w": self.idle_w, "tail_j": self.tail_j}


def link_names() -> tuple[str, ...]:
    """The links that come with the package."""
    return profile_names(LINKS)


def load_link(spec: str) -> LinkProfile:
    """A link by name, path of a TOML file, or rates; raises `ProfileError`.

    ``up=5.85e6,down=13.76e6,rtt=0.05`` is a link without radio power; ``huang2012-4g,rtt=0.05``
    is a profile with some of its values replaced (its power follows the rates).
    """
    first, *rest = (part.strip() for part in spec.split(","))
    if "=" in first and not first.endswith(".toml"):
        return _from_rates(spec, [first, *rest])
    profile = _load_profile(first)
    return _with_values(profile, spec, _parse_values(spec, rest)) if rest else profile


def is_link(spec: str) -> bool:
    """Whether a name, path or text of rates means a link (else it may mean a target)."""
    if spec.endswith(".toml"):
        return "uplink_bps" in read_toml(Path(spec))
    first = spec.split(",")[0].strip()
    return "=" in spec or first in link_names() or first in _aliases()


def read_link(name: str, where: str, document: dict[str, Any]) -> LinkProfile:
    """A checked link from the tables of its file; ``where`` begins each error."""
    fields = Fields(where, document)
    power = fields.table("power", optional=True)
    fields.text("alias", "")
    profile = LinkProfile(
        name=name,
        description=fields.text("description"),
        uplink_bps=fields.number("uplink_bps", positive=True),
        downlink_bps=fields.number("downlink_bps", positive=True),
        rtt_s=fields.number("rtt_s"),
        power=RadioPower(
            transmit_w_per_mbps=power.number("transmit_w_per_mbps", 0.0),
            transmit_base_w=power.number("transmit_base_w", 0.0),
            receive_w_per_mbps=power.number("receive_w_per_mbps", 0.0),
            receive_base_w=power.number("receive_base_w", 0.0),
            idle_w=power.number("idle_w", 0.0),
            tail_w=power.number("tail_w", 0.0),
            tail_s=power.number("tail_s", 0.0),
            whole_phone=power.flag("whole_phone"),
        ),
        year=fields.whole("year"),
        source=fields.text("source"),
        note=fields.text("note", ""),
    )
    fields.done()
    power.done()
    return profile


def _load_profile(name_or_path: str) -> LinkProfile:
    path = find_profile("link", _aliases().get(name_or_path, name_or_path), LINKS)
    return read_link(path.stem, f"link {name_or_path!r}", read_toml(path))


def _aliases() -> dict[str, str]:
    named = ((read_toml(LINKS / f"{name}.toml").get("alias"), name) for name in link_names())
    return {alias: name for alias, name in named if alias}


def _from_rates(spec: str, parts: list[str]) -> LinkProfile:
    values = {"rtt_s": 0.0, **_parse_values(spec, parts)}
    for key, name in _SPEC_KEYS.items():
        if name not in values:
            raise ProfileError(f"link {spec!r} has no {key}=; write it as {SPEC}")
    return LinkProfile(
        name=spec,
        description="rates as given",
        uplink_bps=values["uplink_bps"],
        downlink_bps=values["downlink_bps"],
        rtt_s=values["rtt_s"],
        power=RadioPower(),
        year=None,
        source="given by the user",
        note="no radio power: transfers cost no energy",
    )


def _with_values(profile: LinkProfile, spec: str, values: dict[str, float]) -> LinkProfile:
    return replace(
        profile,
        name=spec,
        uplink_bps=values.get("uplink_bps", profile.uplink_bps),
        downlink_bps=values.get("downlink_bps", profile.downlink_bps),
        rtt_s=values.get("rtt_s", profile.rtt_s),
    )


def _parse_values(spec: str, parts: list[str]) -> dict[str, float]:
    values: dict[str, float] = {}
    for part in parts:
        key, _, text = part.partition("=")
        name = _SPEC_KEYS.get(key.strip())
        if name is None or name in values:
            raise ProfileError(f"link {spec!r}: {part!r} is not understood; write it as {SPEC}")
        try:
            number = float(text)
        except ValueError:
            raise ProfileError(f"link {spec!r}: {part!r} is not a number") from None
        values[name] = Fields(f"link {spec!r}", {key: number}).number(key, positive=key != "rtt")
    return values
