"""The entry for Slicer's extensions index and what the index's checker asks of the repository, without a network."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
REPOSITORY = "SlicerLIPCAR"
(ENTRY_FILE,) = ROOT.glob("*.json")
ENTRY = json.loads(ENTRY_FILE.read_text(encoding="utf-8"))
CMAKE = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
METADATA = dict(re.findall(r'^set\(EXTENSION_(\w+) "([^"]+)"\)$', CMAKE, re.MULTILINE))
SCHEMA = (
    "https://raw.githubusercontent.com/Slicer/Slicer/main/Schemas/slicer-extension-catalog-entry-schema-v1.0.2.json#"
)
FIELDS = {
    "$schema": str,
    "build_dependencies": list,
    "build_subdirectory": str,
    "category": str,
    "dicom_support_rule": str,
    "enabled": bool,
    "scm_revision": str,
    "scm_type": str,
    "scm_url": str,
    "tier": int,
}
"""All that schema 1.0.2 allows, and its types."""
SIZE_LIMIT = 100 * 2**20
OF_SLICER = {"slicer", "qt", "ctk", "vtk", "numpy", "scipy", "SimpleITK", "SampleData"}


def images() -> list[str]:
    return [METADATA["ICONURL"], *METADATA["SCREENSHOTURLS"].split()]


def test_the_entry_fits_the_schema() -> None:
    assert ENTRY["$schema"] == SCHEMA and {"category", "scm_url"} <= set(ENTRY)
    for name, value in ENTRY.items():
        assert type(value) is FIELDS[name], name
    assert 1 <= ENTRY["tier"] <= 5 and ENTRY["scm_type"] == "git"
    assert ENTRY["dicom_support_rule"] == "Modality == 'MR'"
    assert b"\r" not in ENTRY_FILE.read_bytes()


def test_entry_and_cmake_say_the_same() -> None:
    assert re.findall(r"^project\((\w+)\)$", CMAKE, re.MULTILINE) == [ENTRY_FILE.stem]
    assert not ENTRY_FILE.stem.startswith("Slicer")
    assert METADATA["DEPENDS"].split() == ENTRY["build_dependencies"]
    module = (ROOT / "LIPCAR" / "LIPCAR.py").read_text(encoding="utf-8")
    assert METADATA["CATEGORY"] == ENTRY["category"] and f'"{ENTRY["category"]}"' in module
    assert METADATA["CONTRIBUTORS"]


def test_every_address_is_of_one_owner_and_one_repository() -> None:
    """A half-done replacement of the placeholder would fail here; variables would reach the index unexpanded."""
    owners = set()
    for address in (ENTRY["scm_url"].removesuffix(".git"), METADATA["HOMEPAGE"], *images()):
        owner, repository = re.match(
            r"https://(?:raw\.githubusercontent|github)\.com/([\w-]+)/([\w-]+)", address
        ).groups()
        owners.add(owner)
        assert repository == REPOSITORY
    assert len(owners) == 1


def test_images_are_files_of_the_repository() -> None:
    assert len(images()) >= 2
    for address in images():
        prefix, path = address.split(f"/{REPOSITORY}/{ENTRY['scm_revision']}/")
        assert prefix.startswith("https://raw.githubusercontent.com/")
        assert (ROOT / path).read_bytes().startswith(b"\x89PNG\r\n"), path


def test_description_names_purpose_publication_and_patents() -> None:
    description = METADATA["DESCRIPTION"]
    assert ";" not in description  # would split it: CMake passes it on unquoted
    assert "research only" in description and "https://arxiv.org/abs/2407.10559" in description
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for patent in ("WO2023/062196", "US 2024/0273362", "US 2019/0108634", "EP 4174868"):
        assert patent in description and patent in readme
    assert "[MIT](LICENSE)" in readme and "MIT License" in (ROOT / "LICENSE").read_text(encoding="utf-8")


def git(*arguments: str, given: bytes | None = None) -> bytes:
    try:
        return subprocess.run(["git", "-C", str(ROOT), *arguments], input=given, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("this is no git checkout")


def test_a_clone_with_its_history_is_small() -> None:
    files = git("ls-files", "-z").decode().split("\0")[:-1]
    tree = sum((ROOT / name).stat().st_size for name in files if (ROOT / name).is_file())
    objects = git("rev-list", "--objects", "--no-object-names", "HEAD")
    history = sum(map(int, git("cat-file", "--batch-check=%(objectsize:disk)", given=objects).split()))
    assert files and history and tree + history < SIZE_LIMIT


def file_scope(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    """Imports that run when the file is imported: within `if` and `try` too, but not for type checking."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            is_for_types = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            for field in ("orelse", "finalbody") if is_for_types else ("body", "orelse", "finalbody"):
                yield from file_scope(getattr(node, field, []))
            for handler in getattr(node, "handlers", []):
                yield from file_scope(handler.body)


MODULE_FILES = [ROOT / "LIPCAR" / "LIPCAR.py", *sorted((ROOT / "LIPCARLib" / "slicer").glob("*.py"))]


@pytest.mark.parametrize("path", MODULE_FILES, ids=lambda path: path.name)
def test_the_module_imports_nothing_of_third_parties_at_file_scope(path: Path) -> None:
    for node in file_scope(ast.parse(path.read_text(encoding="utf-8")).body):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        if isinstance(node, ast.Import) or not node.level:
            assert {name.split(".")[0] for name in names} <= sys.stdlib_module_names | OF_SLICER | {"LIPCARLib"}, (
                ast.unparse(node)
            )
