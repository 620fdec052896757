"""Copies of what each kind of device shows of its sensors, in a folder that stands for ``/``."""

from __future__ import annotations

from pathlib import Path

PMIC = """\
     3V7_WL_SW_A current(0)=0.10000000A
   3V3_SYS_A current(1)=0.20000000A
  VDD_CORE_A current(7)=1.00000000A
     3V7_WL_SW_V volt(8)=3.70000000V
   3V3_SYS_V volt(9)=3.30000000V
  VDD_CORE_V volt(15)=0.90000000V
      HDMI_V volt(23)=5.10000000V
     EXT5V_V volt(24)=5.13000000V
      BATT_V volt(25)=0.00000000V
"""
PMIC_W = 1.1451 * (0.37 + 0.66 + 0.90) + 0.5879


def write(folder: Path, **files: object) -> Path:
    """Write a file for each name; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name).write_text(f"{content}\n")
    return folder


def jetson(root: Path, millivolts: int = 5000, milliamperes: int = 1000) -> Path:
    """An Orin Nano's ina3221; returns the folder of its files."""
    folder = root / "sys/bus/i2c/devices/1-0040/hwmon/hwmon3"
    write(folder, in1_label="VDD_IN", in2_label="VDD_CPU_GPU_CV", in3_label="VDD_SOC")
    write(folder, in7_label="sum of shunt voltages", in1_input=millivolts, in7_input=9)
    write(folder, curr1_input=milliamperes, in2_input=5000, curr2_input=300)
    return write(folder, in3_input=5000, curr3_input=200)


def jetson_of_jetpack_4(root: Path, milliwatts: int = 5000, total: str = "VDD_IN") -> Path:
    """A TX2's two ina3221x; returns the folder with the total rail."""
    drivers = root / "sys/bus/i2c/drivers/ina3221x"
    write(drivers / "0-0040/iio:device0", rail_name_0="VDD_SYS_GPU", in_power0_input=400)
    folder = drivers / "0-0041/iio:device1"
    write(folder, rail_name_0=total, rail_name_1="VDD_SYS_CPU")
    return write(folder, in_power0_input=milliwatts, in_power1_input=900)


def raspberry_pi_5(root: Path, says: str = PMIC, code: int = 0) -> Path:
    """A Pi 5 whose `vcgencmd` is a script; returns it."""
    write(root / "proc/device-tree", model="Raspberry Pi 5 Model B Rev 1.0\0")
    command = write(root / "usr/bin") / "vcgencmd"
    command.write_text(
        f'#!/bin/sh\n[ "$*" = pmic_read_adc ] || exit 9\ncat <<!\n{says}!\nexit {code}'
    )
    command.chmod(0o755)
    return command


def android(root: Path, current: object = -500_000, voltage: object = 4_000_000) -> Path:
    """A phone's battery; returns its folder."""
    folder = root / "sys/class/power_supply/battery"
    return write(folder, current_now=current, voltage_now=voltage, status="Discharging")


def rapl(root: Path, packages: int = 1, energy_uj: int = 1_000_000) -> list[Path]:
    """A processor's counters, with a part and the whole platform beside them; returns packages."""
    power = root / "sys/class/powercap"
    facts = {"energy_uj": energy_uj, "max_energy_range_uj": 262_143_328_850}
    write(power / "intel-rapl:9", name="psys", **facts)
    write(power / "intel-rapl:0:0", name="core", **facts)
    names = range(packages)
    return [write(power / f"intel-rapl:{n}", name=f"package-{n}", **facts) for n in names]
