"""What the project is made of: locked versions for development, licences, and a bill of materials.

    python Testing/supply_chain.py lock              # writes Testing/locks, needs uv
    python Testing/supply_chain.py licenses          # of all that is installed for LIPCAR, a package a line
    python Testing/supply_chain.py sbom FILE         # CycloneDX 1.6, JSON: the release's packages and models

torch stands in no lock: its builds for CPU, CUDA and macOS share a version, but neither hashes nor dependencies. The
Makefile's TORCH says which one is meant.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import uuid
from collections.abc import Iterator
from datetime import datetime, timezone
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from typing import Any
from urllib.parse import quote

PROJECT = Path(__file__).resolve().parents[1]
LOCKS = {"run": ("all",), "tests": ("all", "cohort", "train", "tests")}
"""For each lock the extras it holds; "run" is what `make demo` needs."""
OWN_BUILDS = re.compile(r"(torch|triton|nvidia-.*|cuda-.*)==")
BUILD = "hatchling\neditables\n"
"""What installs the project itself."""


def lock_path(name: str) -> Path:
    return PROJECT / "Testing" / "locks" / f"{name}.txt"


def write_locks() -> None:
    """Resolve for every platform and Python from the oldest on; what is locked already stays, unless it must go."""
    for name, extras in LOCKS.items():
        path = lock_path(name)
        path.parent.mkdir(exist_ok=True)
        command = ["uv", "pip", "compile", "pyproject.toml", "-", "--universal", "--generate-hashes", "--no-annotate"]
        command += ["--no-header", "--no-emit-index-url", "--no-emit-find-links", "--quiet", "--python-version", "3.10"]
        command += [f"--extra={extra}" for extra in extras]
        if name != "run":
            command += ["--constraints", str(lock_path("run"))]
        done = subprocess.run(command, cwd=PROJECT, input=BUILD, capture_output=True, text=True, check=True)
        blocks = re.split(r"\n(?=\S)", done.stdout.strip())
        kept = [block for block in blocks if not OWN_BUILDS.match(block)]
        head = f"# {name}: by `python Testing/supply_chain.py lock`; torch stands in the Makefile, see there.\n"
        path.write_text(head + "\n".join(kept) + "\n", encoding="utf-8")


def locked(name: str) -> dict[str, list[str]]:
    """The versions that a lock holds, by package; several where they differ between Pythons."""
    found: dict[str, list[str]] = {}
    for package, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", lock_path(name).read_text(encoding="utf-8"), re.M):
        found.setdefault(package, []).append(version)
    return found


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def own_requirements() -> dict[str, list[str]]:
    """What pyproject.toml asks for by extra, "" for always; what is installed of LIPCAR may be older."""
    try:
        import tomllib
    except ModuleNotFoundError:  # before Python 3.11
        import tomli as tomllib
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {"": project["dependencies"], **project["optional-dependencies"]}


def requirements_of(name: str, found: Distribution, extras: frozenset[str]) -> Iterator[tuple[str, frozenset[str]]]:
    """Names and extras of what a package requires here."""
    from packaging.requirements import Requirement

    texts = list(found.requires or ())
    if name == "lipcar":
        texts = [text for extra, own in own_requirements().items() if extra in extras | {""} for text in own]
    for one in map(Requirement, texts):
        if one.marker is None or any(one.marker.evaluate({"extra": extra}) for extra in extras | {""}):
            yield canonical(one.name), frozenset(one.extras)


def closure(extras: frozenset[str]) -> dict[str, tuple[Distribution, set[str]]]:
    """LIPCAR with these extras and all that it needs, as installed: by name the package and what it requires itself."""
    packages: dict[str, tuple[Distribution, set[str]]] = {}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [("lipcar", extras)]
    while waiting:
        name, wanted = waiting.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        try:
            found = distribution(name)
        except PackageNotFoundError:
            continue  # an alternative that is not installed here
        needed = list(requirements_of(name, found, wanted))
        packages.setdefault(name, (found, set()))[1].update(package for package, _ in needed if package != name)
        waiting += needed
    return packages


def license_of(found: Distribution) -> str:
    """As the package says it: an SPDX expression, a short text, or its classifiers."""
    meta = found.metadata
    said = meta.get("License-Expression") or meta.get("License") or ""
    if said and "\n" not in said.strip() and len(said) < 80:
        return said.strip()
    classifiers = meta.get_all("Classifier") or ()
    classified = [line.rsplit(" :: ", 1)[-1] for line in classifiers if line.startswith("License ::")]
    return ", ".join(classified) or said.strip().split("\n")[0] or "not said"


def print_licenses() -> None:
    packages = closure(frozenset(LOCKS["tests"]))
    needed = closure(frozenset({"all"}))
    print(f"{'package':28} {'version':16} {'for':8} licence")
    for name, (found, _) in sorted(packages.items()):
        print(f"{name:28} {found.version:16} {'run' if name in needed else 'tests':8} {license_of(found)}")


def components() -> Iterator[dict[str, Any]]:
    """Packages that a release needs, and the models that it brings, each file with its hash."""
    for name, (found, _) in sorted(closure(frozenset({"all"})).items()):
        if name == "lipcar":
            continue
        said, is_expression = license_of(found), bool(found.metadata.get("License-Expression"))
        yield {
            "type": "library",
            "bom-ref": name,
            "name": name,
            "version": found.version,
            "purl": f"pkg:pypi/{name}@{quote(found.version)}",
            "licenses": [{"expression": said} if is_expression else {"license": {"name": said}}],
        }
    for path in sorted((PROJECT / "Resources" / "Models").glob("*/manifest.json")):
        yield _model(path.parent.name, json.loads(path.read_text(encoding="utf-8")))


def _model(name: str, manifest: dict[str, Any]) -> dict[str, Any]:
    files = [
        {
            "type": "file",
            "bom-ref": f"model:{name}/{entry['path']}",
            "name": entry["path"],
            "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
        }
        for entry in manifest["files"].values()
    ]
    return {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": name,
        "description": manifest["description"],
        "components": files,
    }


def bill_of_materials() -> dict[str, Any]:
    """CycloneDX 1.6 as JSON has it."""
    parts = list(components())
    packages = closure(frozenset({"all"}))
    own, _ = packages["lipcar"]
    models = [part["bom-ref"] for part in parts if part["type"] == "machine-learning-model"]
    edges = {name: sorted(needed & packages.keys()) for name, (_, needed) in packages.items()}
    edges["lipcar"] = sorted([*edges["lipcar"], *models])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "version": 1,
        "metadata": {
            "timestamp": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": {
                "type": "application",
                "bom-ref": "lipcar",
                "name": "lipcar",
                "version": own.version,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": parts,
        "dependencies": [{"ref": name, "dependsOn": edges[name]} for name in sorted(edges)],
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("lock")
    commands.add_parser("licenses")
    commands.add_parser("sbom").add_argument("file", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "lock":
        write_locks()
    elif arguments.command == "licenses":
        print_licenses()
    else:
        arguments.file.parent.mkdir(parents=True, exist_ok=True)
        arguments.file.write_text(json.dumps(bill_of_materials(), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
