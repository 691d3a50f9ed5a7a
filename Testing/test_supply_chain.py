"""The locks hold what pyproject.toml asks for, the bill of materials what a release brings, and nothing calls home."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from .supply_chain import (
    LOCKS,
    PROJECT,
    bill_of_materials,
    canonical,
    closure,
    license_of,
    lock_path,
    locked,
    own_requirements,
)

MODELS = PROJECT / "Resources" / "Models"


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_what_is_asked_for_and_nothing_without_a_hash(name: str) -> None:
    versions = locked(name)
    for extra in ("", "cli", "dicom", "reports", *(set(LOCKS[name]) - {"all"})):
        for asked in map(Requirement, own_requirements()[extra]):
            if asked.name == "torch":
                continue
            found = versions[canonical(asked.name)]
            assert all(asked.specifier.contains(version) for version in found), f"{asked}: {found}"
    text = lock_path(name).read_text(encoding="utf-8")
    packages = re.split(r"\n(?=\S)", text)[1:]  # the first one is a comment
    assert len(packages) >= len(versions) > 30
    assert all("--hash=sha256:" in package for package in packages)
    assert "://" not in text and "torch" not in versions


def test_what_the_demo_needs_is_the_same_for_the_tests() -> None:
    run, tests = locked("run"), locked("tests")
    assert run.items() <= tests.items()


def test_all_licenses_are_known() -> None:
    packages = closure(frozenset(LOCKS["tests"]))
    unknown = [name for name, (found, _) in packages.items() if license_of(found) == "not said"]
    assert not unknown


def test_the_bill_of_materials_names_every_package_and_every_weight() -> None:
    bill = bill_of_materials()
    json.dumps(bill, allow_nan=False)
    refs = {part["bom-ref"]: part for part in bill["components"]}
    assert len(refs) == len(bill["components"])
    assert {"numpy", "simpleitk", "torch", "safetensors", "scipy"} <= refs.keys() and "pytest" not in refs
    for edge in bill["dependencies"]:
        assert {edge["ref"], *edge["dependsOn"]} <= refs.keys() | {"lipcar"}
    hashes = {file["hashes"][0]["content"] for part in refs.values() for file in part.get("components", ())}
    manifests = [json.loads(path.read_text(encoding="utf-8")) for path in MODELS.glob("*/manifest.json")]
    assert hashes == {entry["sha256"] for manifest in manifests for entry in manifest["files"].values()}


WITHOUT_NETWORK = f"""
import socket, struct, sys
HERE = ("127.0.0.1", "localhost")
def guarded(original):
    def door(*arguments, **options):
        hosts = [one[0] if isinstance(one, tuple) and one else one for one in arguments]
        if any(host in HERE for host in hosts if isinstance(host, str)):  # a process of one's own is no network
            return original(*arguments, **options)
        print("the network was asked for", arguments, file=sys.stderr)
        raise RuntimeError("no network")
    return door
try:  # where the system's doors are shut, this one has to be opened: SIOCSIFFLAGS, up and running
    import fcntl
    fcntl.ioctl(socket.socket(socket.AF_INET, socket.SOCK_DGRAM), 0x8914, struct.pack("16sh", b"lo", 0x41))
except (ImportError, OSError):
    pass
for name in ("connect", "connect_ex", "bind", "sendto"):
    setattr(socket.socket, name, guarded(getattr(socket.socket, name)))
for name in ("getaddrinfo", "gethostbyname", "create_connection"):
    setattr(socket, name, guarded(getattr(socket, name)))
sys.path[:0] = [{str(PROJECT)!r}, {str(PROJECT / "Testing" / "slicer")!r}]
"""
"""Python's doors to the network are shut; `unshare` shuts those of compiled code too, where the system lets it."""


def run_without_network(code: str, folder: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_NETWORK + code]
    shut = ["unshare", "--net", "--map-root-user"]
    try:
        shuts = subprocess.run([*shut, "true"], capture_output=True).returncode == 0
    except OSError:
        shuts = False
    done = subprocess.run(shut * shuts + command, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0 and "network" not in done.stderr, done.stderr


def test_the_network_would_be_noticed(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="the network was asked for"):
        run_without_network("socket.create_connection(('192.0.2.1', 9))", tmp_path)
    with pytest.raises(AssertionError, match="the network was asked for"):
        run_without_network("import urllib.request; urllib.request.urlopen('http://example.org')", tmp_path)


def test_the_demo_needs_no_network(tmp_path: Path) -> None:
    code = "from LIPCARLib.cli import run; sys.exit(run(['demo', '--output', 'd', '--device', 'cpu']))"
    run_without_network(code, tmp_path)
    assert (tmp_path / "d" / "report.json").is_file()


def test_the_module_in_slicer_needs_no_network(tmp_path: Path) -> None:
    pytest.importorskip("slicer", reason="slicer-core is not installed", exc_type=ImportError)
    run_without_network(
        "import headless; headless.start(); logic = headless.load_module().LIPCARLogic()\n"
        "low, pre, high = (headless.add_volume(name, gain) for name, gain in (('l', 1.3), ('p', 1), ('h', 2)))\n"
        "assert logic.process(low, pre, highdoseVolume=high, device='cpu')",
        tmp_path,
    )
