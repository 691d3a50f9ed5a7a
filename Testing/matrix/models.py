"""Cases: folders of models whose manifest or weights are damaged, strange or made with intent."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from .case import Case, Expected, done, enhanced, refused, table
from .images import ENHANCE
from .inputs import Arrange, ordinary, with_thing
from .numeric import JSON_DAMAGE

MODELS = Path(__file__).resolve().parents[2] / "Resources" / "Models"
Manifest = dict[str, Any]
nan, inf = float("nan"), float("inf")
WITH_MINE = ENHANCE.replace("signal", "mine")
MALFORMED = refused("manifest|model")


def manifest_of(name: str) -> Manifest:
    found: Manifest = json.loads((MODELS / name / "manifest.json").read_text(encoding="utf-8"))
    return found


def mine(
    change: Callable[[Manifest], object] | None = None, of: str = "anchored", content: bytes | None = None
) -> Arrange:
    """The ordinary examination and a folder `mine`: a shipped model with another manifest."""

    def arrange(folder: Path) -> None:
        ordinary(folder)
        shutil.copytree(MODELS / of, folder / "mine")
        manifest = manifest_of(of)
        if change is not None:
            change(manifest)
        data = json.dumps(manifest).encode() if content is None else content
        (folder / "mine" / "manifest.json").write_bytes(data)

    return arrange


def keyed(path: str, value: object) -> Callable[[Manifest], None]:
    """Set what stands at a path of keys; `...` takes it away."""

    def change(manifest: Manifest) -> None:
        *parents, last = path.split("/")
        place = manifest
        for key in parents:
            place = place[key]
        if value is ...:
            del place[last]
        else:
            place[last] = value

    return change


def weights_of(name: str = "anchored", role: str = "prior") -> dict[str, np.ndarray]:
    from safetensors.numpy import load_file

    found: dict[str, np.ndarray] = load_file(MODELS / name / f"{role}.safetensors")
    return found


def with_weights(
    change: Callable[[dict[str, np.ndarray]], object] | bytes, of: str = "anchored", role: str = "prior"
) -> Arrange:
    """The same with other weights, whose hash is right."""

    def arrange(folder: Path) -> None:
        if isinstance(change, bytes):
            data = change
        else:
            from safetensors.numpy import save

            tensors = weights_of(of, role)
            change(tensors)
            data = save(tensors)
        mine(keyed(f"files/{role}/sha256", hashlib.sha256(data).hexdigest()), of)(folder)
        (folder / "mine" / f"{role}.safetensors").write_bytes(data)

    return arrange


def put(value: float, count: int = 1) -> Callable[[dict[str, np.ndarray]], None]:
    def change(tensors: dict[str, np.ndarray]) -> None:
        first = sorted(tensors)[0]
        tensors[first] = tensors[first].copy()
        tensors[first].reshape(-1)[:count] = value

    return change


def exchanged(of: str) -> Arrange:
    """The files of the two roles in each other's places, with their hashes."""

    def change(manifest: Manifest) -> None:
        files = manifest["files"]
        files["prior"], files["forward_operator"] = files["forward_operator"], files["prior"]

    return mine(change, of)


def exchanged_on_disk(folder: Path) -> None:
    """The same, files renamed too: every hash is right and every name as ever."""
    exchanged("vnet-predose")(folder)
    place = folder / "mine"
    manifest = json.loads((place / "manifest.json").read_text())
    data = {role: (place / entry["path"]).read_bytes() for role, entry in manifest["files"].items()}
    for role, content in data.items():
        (place / f"{role}.safetensors").write_bytes(content)
        manifest["files"][role]["path"] = f"{role}.safetensors"
    (place / "manifest.json").write_text(json.dumps(manifest))


def given(path: str, values: Iterable[object], *expected: Expected, of: str = "anchored") -> list[tuple[Any, ...]]:
    """A row for each value at a path of keys."""
    key = path.rsplit("/", 1)[-1]
    return [(f"{key} {value!r:.60}", mine(keyed(path, value), of), *expected) for value in values]


NO_CLASSES = (..., "Transformer", ["VNet"], None, 7, {"a": 1}, "os.system", "__import__")
NO_CHANNELS = (0, -1, 3, 10**8, 10**30, "2", 1.5, None, True, [2], nan)
NO_FILES = (..., [], None, "prior", {}, {"prior": 5}, {"prior": {"path": 5, "sha256": "x"}})
NO_PATHS = (
    *("", ".", "..", "/etc/hostname", "../low.nrrd", "a\0b", "x" * 300, "manifest.json", "prior.safetensors/x"),
    *(7, None, "C:\\x", "~/x"),
)
NO_METRICS = ([], "good", 5, {"subjects": 5}, {"subjects": [], "slices": "x", "means_over_slices": []})
NO_TRAINING = ([], "long", {"training_subjects": 5}, {"held_out_subjects": "all"})


def manifest_cases() -> list[Case]:
    channels = refused("channels|architecture|fit|malformed|no JSON")
    rows: list[tuple[Any, ...]] = [
        *((name, mine(content=data), MALFORMED) for name, data in JSON_DAMAGE),
        *given("schema_version", (..., 0, 2, "1", None, [1], 1e300, nan), refused("schema|no JSON")),
        ("schema_version true", mine(keyed("schema_version", True)), refused("schema"), done()),
        *given("name", (..., 5, None, "", [], {}, "x" * 100_000), refused("name")),
        ("a name with escapes", mine(keyed("name", "\x1b[31mred\x07\nnew line")), refused("name"), done()),
        *given("uses_predose", (..., "yes", None, 2, []), refused("uses_predose|pre-dose")),
        ("uses_predose is a lie", mine(keyed("uses_predose", False)), refused("uses_predose|pre-dose"), done()),
        *given("architecture", (..., [], "VNet", None, {}, {"prior": {}}), refused("architecture")),
        *given("architecture/prior/class", NO_CLASSES, refused("architecture|class")),
        *given("architecture/prior/in_channels", NO_CHANNELS, channels, of="vnet-predose"),
        *given("architecture/prior/depth", (99,), refused("architecture|argument|depth"), of="vnet-predose"),
        *given("scale", (..., "maximum", None, 5, []), refused("scale")),
        *given("files", NO_FILES, refused("files|missing|incomplete|malformed")),
        ("a file for no role", mine(keyed("files/tail", {"path": "x", "sha256": "y"})), refused("tail|role|weights")),
        *given("files/prior/path", NO_PATHS, refused("path|file|missing|not|folder")),
        *given("files/prior/sha256", ("", "0" * 64, "zz", 5, None, []), refused("SHA|hash|altered|checksum|malformed")),
        *given("metrics", NO_METRICS, refused("metrics|manifest"), done()),
        *given("training", NO_TRAINING, refused("training|manifest"), done()),
        ("description of a megabyte", mine(keyed("description", "x" * 1_000_000)), refused("description"), done()),
        ("controls without sizes", mine(keyed("controls", {"examinations": 12, "smallest_found_mm": None})), refused("controls")),
        ("description is a list", mine(keyed("description", ["a"])), refused("description"), done()),
    ]  # fmt: skip
    cases = [(f"manifest: {name}", arrange, "lipcar models show mine", *expected) for name, arrange, *expected in rows]
    verified = ("in_channels", "path", "sha256", "files", "class", "depth")
    cases = [
        (name, arrange, call.replace("show", "verify") if name.split()[1].strip(":") in verified else call, *expected)
        for name, arrange, call, *expected in cases
    ]
    doors = [
        ("manifest: nested deep", mine(content=b"[" * 100_000), MALFORMED),
        ("manifest: in_channels 10^8", mine(keyed("architecture/prior/in_channels", 10**8), of="vnet-predose"), refused("channels|architecture|fit")),
        ("manifest: files elsewhere", mine(keyed("files/prior/path", "../../low.nrrd")), refused("path|file|outside")),
    ]  # fmt: skip
    cases += [(name, arrange, "load-model mine", *expected) for name, arrange, *expected in doors]
    cases += [(name, arrange, WITH_MINE, *expected) for name, arrange, *expected in doors]
    call = "lipcar models verify mine"
    cases += [
        ("manifest: a folder", lambda folder: (folder / "mine" / "manifest.json").mkdir(parents=True), call, refused("No model|manifest")),
        ("manifest: a pipe", lambda folder: ((folder / "mine").mkdir(), os.mkfifo(folder / "mine" / "manifest.json")), call, refused("No model|manifest|regular")),
        ("manifest: /dev/zero", lambda folder: ((folder / "mine").mkdir(), (folder / "mine" / "manifest.json").symlink_to("/dev/zero")), call, refused("No model|manifest|regular")),
        ("manifest: a loop", lambda folder: ((folder / "mine").mkdir(), (folder / "mine" / "manifest.json").symlink_to("manifest.json")), call, refused("No model|manifest")),
        ("manifest: the model folder is a loop", lambda folder: (folder / "mine").symlink_to("mine"), call, refused("No model")),
        ("manifest: only weights", lambda folder: shutil.copytree(MODELS / "anchored", folder / "mine", ignore=shutil.ignore_patterns("*.json")), call, refused("No model")),
        ("manifest: of 100 MB", mine(content=b'{"a": "' + b"x" * 100_000_000 + b'"}'), call, refused("manifest|large|schema")),
        ("manifest: as shipped", mine(), call, done("OK")),
        ("manifest: as shipped, a pair", mine(of="vnet-predose"), call, done("OK")),
        ("manifest: as shipped, shown", mine(of="vnet-predose"), "lipcar models show mine", done("SHA-256")),
        ("manifest: with a byte order mark", mine(content=b"\xef\xbb\xbf" + json.dumps(manifest_of("anchored")).encode()), call, done("OK"), MALFORMED),
    ]  # fmt: skip
    return table(*cases)


def weights_cases() -> list[Case]:
    bad = refused("weight|damaged|altered|cut short|SHA|safetensors|fit|regular|read|file|missing")
    finite = refused("NaN|infinite|finite")
    empty = struct.pack("<Q", 2) + b"{}"

    def drop(tensors: dict[str, np.ndarray]) -> None:
        del tensors[sorted(tensors)[0]]

    def more(tensors: dict[str, np.ndarray]) -> None:
        tensors["extra"] = np.zeros(3, np.float16)

    def turned(tensors: dict[str, np.ndarray]) -> None:
        name = next(name for name in sorted(tensors) if tensors[name].ndim == 4)
        tensors[name] = tensors[name][:, :, :1]

    def integers(tensors: dict[str, np.ndarray]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].astype(np.int32)

    def doubles(tensors: dict[str, np.ndarray]) -> None:
        for name in tensors:
            tensors[name] = tensors[name].astype(np.float64)

    whole = (MODELS / "anchored" / "prior.safetensors").read_bytes()
    rows: list[tuple[Any, ...]] = [
        ("NaN, the hash is right", with_weights(put(nan)), finite),
        ("one infinity, the hash is right", with_weights(put(inf)), finite),
        ("NaN in a pair's prior", with_weights(put(nan), "vnet-predose"), finite),
        ("NaN in a forward operator", with_weights(put(nan), "vnet-predose", "forward_operator"), finite),
        ("exchanged", exchanged("vnet-predose"), refused("role|prior|forward|exchanged|fit")),
        ("exchanged and renamed", exchanged_on_disk, refused("role|prior|forward|exchanged|fit")),
        ("a tensor missing", with_weights(drop), bad),
        ("a tensor too many", with_weights(more), bad),
        ("a tensor of another shape", with_weights(turned), bad),
        ("integers", with_weights(integers), bad, refused("type|float")),
        ("float64", with_weights(doubles), bad, done("OK")),
        ("no tensors", with_weights(empty), bad),
        ("no bytes", with_weights(b""), bad),
        ("garbage", with_weights(b"\xff" * 5000), bad),
        ("a header of 10^18 bytes", with_weights(struct.pack("<Q", 10**18) + b"{}"), bad),
        ("a header that is no JSON", with_weights(struct.pack("<Q", 8) + b"no json!" + bytes(99)), bad),
        ("offsets beyond the end", with_weights(overlong()), bad),
        ("a pickle", with_weights(pickle.dumps({"prior": 1})), bad),
        ("cut, the hash is right", with_weights(whole[: len(whole) // 2]), bad),
        ("cut", damaged_on_disk(lambda path: path.write_bytes(whole[:1000])), bad),
        ("one bit flipped", damaged_on_disk(lambda path: path.write_bytes(whole[:5000] + bytes([whole[5000] ^ 1]) + whole[5001:])), bad),
        ("missing", damaged_on_disk(lambda path: None), bad),
        ("a pipe", damaged_on_disk(os.mkfifo), bad),
        ("/dev/zero", damaged_on_disk(lambda path: path.symlink_to("/dev/zero")), bad),
        ("a loop", damaged_on_disk(lambda path: path.symlink_to(path.name)), bad),
        ("a folder", damaged_on_disk(lambda path: path.mkdir()), bad),
    ]  # fmt: skip
    cases = [(f"weights: {name}", arrange, "lipcar models verify mine", *expected) for name, arrange, *expected in rows]
    for name, arrange, *expected in rows[:4] + rows[22:24]:
        cases.append((f"weights: {name}", arrange, "load-model mine", *expected))
        cases.append((f"weights: {name}", arrange, WITH_MINE, *expected))
    evaluate = "lipcar evaluate cohort --model mine --methods lip-car --device cpu"
    cases.append(("weights: NaN, a cohort", both(with_weights(put(nan)), one_subject), evaluate, finite))
    cases.append(("weights: as shipped", mine(), WITH_MINE, enhanced()))
    return table(*cases)


def both(first: Arrange, second: Arrange) -> Arrange:
    def arrange(folder: Path) -> None:
        first(folder)
        second(folder)

    return arrange


def one_subject(folder: Path) -> None:
    """The examination in `folder` as a cohort of one."""
    place = folder / "cohort" / "one"
    place.mkdir(parents=True)
    for role, name in (("lowdose", "low"), ("predose", "pre"), ("highdose", "high")):
        shutil.copy(folder / f"{name}.nrrd", place / f"{role}.nrrd")


def overlong() -> bytes:
    header = json.dumps({"a": {"dtype": "F16", "shape": [4, 4], "data_offsets": [0, 10**12]}}).encode()
    return struct.pack("<Q", len(header)) + header


def damaged_on_disk(change: Callable[[Path], object]) -> Arrange:
    """Something else in the place of the weights, the manifest as shipped."""

    def arrange(folder: Path) -> None:
        mine()(folder)
        path = folder / "mine" / "prior.safetensors"
        path.unlink()
        change(path)

    return arrange


def command_cases() -> list[Case]:
    return table(
        ("list", ordinary, "lipcar models list", done("vnet-predose")),
        ("show signal", ordinary, "lipcar models show signal", done("no weights")),
        ("verify all", ordinary, "lipcar models verify", done("anchored/prior.safetensors: OK")),
        ("show nothing", ordinary, ("lipcar", "models", "show", ""), refused("No model")),
        ("show a folder of images", ordinary, "lipcar models show .", refused("No model")),
        ("show a file", ordinary, "lipcar models show low.nrrd", refused("No model")),
        ("show a pipe", with_thing("pipe", "mine"), "lipcar models show mine", refused("No model")),
        ("show a name too long", ordinary, f"lipcar models show {'x' * 5000}", refused("No model")),
        ("verify a name with a zero", ordinary, ("lipcar", "models", "verify", "a\0b"), refused("No model|zero|null|NUL")),
        ("an unknown command", ordinary, "lipcar models sell signal", refused("No such command")),
    )  # fmt: skip


CASES = [*manifest_cases(), *weights_cases(), *command_cases()]
