"""What was measured side by side, as the page shows it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = "peers"


def ratios_of(folder: Path) -> list[str]:
    """Return the section on the peers that the latest results in a device's folder make; nothing without any."""
    found = latest(folder)
    if not found:
        return []
    return ["### Beside peers", "", *(line for own in found.values() for line in _peer(own))]


def latest(folder: Path) -> dict[str, Mapping[str, Any]]:
    """Return the latest results in a device's folder, by peer."""
    files = sorted((folder / FOLDER).glob("*.json"))
    return {(found := json.loads(path.read_text(encoding="utf-8")))["peer"]: found for path in files}


def _peer(found: Mapping[str, Any]) -> list[str]:
    session = found["session"]
    versions = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    lines = [
        f"**{found['peer']}** ({versions}; {found['game']}), taken {session['taken']} at "
        f"{session['git']['revision'][:9]}, threads: {session['threads']}, {session['clock']} time. Both sides count "
        "their updates; the ratio is our speed over the peer's:",
        "",
        "| algorithm | K | ours, env steps/s | peer, env steps/s | ratio | lowest and highest of the pairs |",
        "|---|---|---|---|---|---|",
    ]
    for own in found["results"]:
        lines.append(
            f"| {own['algorithm']} {own['form']} | {own['copies']} | {own['ours']:.0f} | {own['peer']:.0f} | "
            f"{own['ratio']:.2f} | {own['lowest']:.2f} to {own['highest']:.2f} ({len(own['pairs'])}) |"
        )
    return [*lines, ""]
