"""`jointdnn targets`: the target and link profiles."""

from __future__ import annotations

import argparse
from typing import Any

from jointdnn_tvm.errors import ProfileError

HELP = "list the target and link profiles, or print one"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of the verb."""
    parser.add_argument(
        "name",
        metavar="NAME",
        nargs="?",
        help="a target, a link, or a .toml file (default: list all)",
    )


def run(args: argparse.Namespace) -> dict[str, Any]:
    """One profile with all its facts, or every profile with its description."""
    from jointdnn_tvm.targets import is_link, link_names, load_link, load_target, target_names

    name = args.name
    if name is None:
        return {
            "targets": {name: load_target(name).description for name in target_names()},
            "links": {name: load_link(name).description for name in link_names()},
        }
    if is_link(name):
        return load_link(name).to_json()
    if name.endswith(".toml") or name in target_names():
        return load_target(name).to_json()
    raise ProfileError(
        f"unknown profile {name!r}: targets are {', '.join(target_names())}; "
        f"links are {', '.join(link_names())}; or give a .toml file"
    )


def render(result: dict[str, Any]) -> str:
    """A list of profiles, or the facts of one, for people."""
    if "targets" not in result:
        return "\n".join(_facts(result))
    groups = (("targets", result["targets"]), ("links", result["links"]))
    width = max(len(name) for _, profiles in groups for name in profiles)
    lines = []
    for title, profiles in groups:
        lines.append(f"{title}:")
        lines += [f"  {name:<{width}}  {text}" for name, text in profiles.items()]
    return "\n".join(lines)


def _facts(table: dict[str, Any], indent: str = "") -> list[str]:
    lines = []
    for key, value in table.items():
        if isinstance(value, dict):
            lines += [f"{indent}{key}:", *_facts(value, indent + "  ")]
        elif value not in ("", None, []):
            lines.append(f"{indent}{key}: {_text(value, indent)}")
    return lines


def _text(value: Any, indent: str) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, float):
        return f"{value:g}"
    return str(value).replace("\n", f"\n{indent}  ")
