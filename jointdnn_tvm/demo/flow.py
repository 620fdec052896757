"""The demo, step by step: measure, plan, build, run over an emulated link, compare."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jointdnn_tvm.api import load_network, offer_codecs, plan
from jointdnn_tvm.building import build
from jointdnn_tvm.demo import text_line
from jointdnn_tvm.deploy.link_shaper import LinkShaper
from jointdnn_tvm.deploy.loopback import LoopbackLab
from jointdnn_tvm.deploy.throttle import Throttle
from jointdnn_tvm.devices import Devices
from jointdnn_tvm.errors import RunError
from jointdnn_tvm.library_shelf import Progress
from jointdnn_tvm.measuring import measure
from jointdnn_tvm.network import Network
from jointdnn_tvm.planning import Plan
from jointdnn_tvm.samples import Samples
from jointdnn_tvm.targets import load_link
from jointdnn_tvm.verify import Reference, compare

Arrays = dict[str, np.ndarray[Any, Any]]

PLACEMENTS = {"mobile-only": "mobile-only", "cloud-only": "cloud-only", "joint": "auto"}
_TOLERANCE = 1e-4  # relative; what float32 leaves after another order of summation
_ROUNDS, _RUNS = 2, 6
_OUTPUT = "scores"  # of the network's only output
_PHONE_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class Setup:
    """What is emulated: how much slower than this machine the phone is, and the link's profile."""

    slowdown: float = 6.0
    link: str = "huang2012-wifi"
    folder: Path = Path("demo-out")
    costs: Path | None = None


def run_demo(setup: Setup, report: Progress) -> dict[str, Any]:
    """Do the main job on this machine alone; RunError when an answer is not onnxruntime's."""
    model, page = text_line.find_model(), text_line.find_page()
    inputs = {text_line.INPUT: text_line.read_heading(page)}
    link = load_link(setup.link)
    network = load_network(model, {text_line.INPUT: text_line.SHAPE})
    setup.folder.mkdir(parents=True, exist_ok=True)
    with LoopbackLab(slowdown=setup.slowdown) as lab:
        devices = Devices(str(lab.tracker), lab.mobile_key, lab.cloud_key)
        costs = measure(network, devices=devices, database=setup.costs, progress=report)
        (tensor,) = network.graph.inputs
        seen = Samples(({tensor: inputs[text_line.INPUT]},), True, "the picture")
        offer = offer_codecs(network, costs, calibrate=seen)
        plans = {
            name: plan(network, costs, link=link, placement=placement, codecs=offer)
            for name, placement in PLACEMENTS.items()
        }
        bundles = _build_all(network, plans, setup.folder, report)
        with LinkShaper(
            lab.address(lab.cloud_key),
            uplink_bps=link.uplink_bps,
            downlink_bps=link.downlink_bps,
            rtt_s=link.rtt_s,
        ) as shaper:
            report("running on the emulated phone and link", 0, 1)
            job = {"cloud": str(shaper.address), "key": lab.cloud_key}
            latencies, answers = _run_phone(bundles, inputs, job, setup.slowdown)
            report("running on the emulated phone and link", 1, 1)
    return {
        "emulated": _emulated(setup.slowdown, setup.link),
        "network": network.name,
        "groups": len(network.graph.groups),
        "newly_measured": costs.measured,
        "sources": plans["joint"].sources,
        "plans": {name: _row(p, latencies[name]) for name, p in plans.items()},
        **_check(model, inputs, answers),
        "picture": page.name,
        "bundles": {name: str(path) for name, path in bundles.items()},
    }


def _emulated(slowdown: float, link: str) -> str:
    return (
        f"the phone is this machine slowed {slowdown:g}x by a duty cycle, "
        f"the link is shaped in user space to {link}"
    )


def _build_all(
    network: Network, plans: Mapping[str, Plan], folder: Path, report: Progress
) -> dict[str, Path]:
    paths = {}
    for done, (name, chosen) in enumerate(plans.items()):
        report("building three bundles", done, len(plans))
        fallback = name == "joint"  # the baselines are compared, not shipped
        paths[name] = build(network, chosen, fallback=fallback).save(folder / f"{name}.jd")
    report("building three bundles", len(plans), len(plans))
    return paths


def _run_phone(
    bundles: Mapping[str, Path], inputs: Arrays, job: dict[str, Any], slowdown: float
) -> tuple[dict[str, list[float]], dict[str, Arrays]]:
    """Run the bundles in a process that is slowed down; returns latencies (s) and last answers."""
    with tempfile.TemporaryDirectory(prefix="jointdnn-phone-") as folder:
        files = {name: str(Path(folder) / f"input-{name}.npy") for name in inputs}
        for name, array in inputs.items():
            np.save(files[name], array)
        job = {**job, "inputs": files, "folder": folder}
        job |= {"bundles": {n: str(p) for n, p in bundles.items()}}
        job |= {"rounds": _ROUNDS, "runs": _RUNS}
        phone = subprocess.Popen(
            [sys.executable, "-m", "jointdnn_tvm.demo.phone"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TVM_USE_RUNTIME_LIB": "1"},
        )
        try:
            said = _drive(phone, json.dumps(job), slowdown)
        finally:
            phone.kill()
            phone.communicate()
        answers = {n: {_OUTPUT: np.load(Path(folder) / f"{n}-0.npy")} for n in bundles}
    return json.loads(said), answers


def _drive(phone: subprocess.Popen[str], job: str, slowdown: float) -> str:
    """Give the job, slow the phone down once it is up, and return what it prints last."""
    assert phone.stdin is not None
    assert phone.stdout is not None
    with suppress(BrokenPipeError):
        phone.stdin.write(job + "\n")
        phone.stdin.flush()
    if phone.stdout.readline().strip() == "ready":
        with Throttle(phone.pid, slowdown):
            said, errors = phone.communicate("go\n", timeout=_PHONE_TIMEOUT_S)
    else:
        said, errors = phone.communicate()
    if phone.returncode:
        reason = (errors.strip().splitlines() or ["no reason given"])[-1]
        raise RunError(f"the demo's phone process failed: {reason}")
    return said


def _row(chosen: Plan, latencies: list[float]) -> dict[str, Any]:
    sides = list(chosen.answer.placement.values())
    return {
        "groups_on_mobile": sides.count("mobile"),
        "groups_on_cloud": sides.count("cloud"),
        "predicted_latency_s": chosen.answer.latency_s,
        "measured_latency_s": statistics.median(latencies),
        "measured_runs": len(latencies),
        "predicted_energy_j": chosen.answer.energy_j,
    }


def _check(model: Path, inputs: Arrays, answers: Mapping[str, Arrays]) -> dict[str, Any]:
    """Compare every answer with onnxruntime's, and read the text out of the joint one."""
    (scores,) = Reference(model).run(inputs).values()
    expected = {_OUTPUT: scores}
    errors = {name: compare(answer, expected).max_rel_error for name, answer in answers.items()}
    worst = max(errors, key=lambda name: errors[name])
    if not errors[worst] <= _TOLERANCE:
        raise RunError(
            f"the {worst} answer differs from onnxruntime's by {errors[worst]:.2e} of its largest "
            f"value, over {_TOLERANCE:g}; report this as a bug"
        )
    return {
        "max_rel_error": errors,
        "text": text_line.read_text(model, answers["joint"][_OUTPUT]),
        "onnxruntime_text": text_line.read_text(model, scores),
    }
