"""A model on disk comes back as it was, and anything wrong with it is said, never computed with."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.intensity import SCALE_RULE
from LIPCARLib.inverse import manifest as manifest_module
from LIPCARLib.inverse.manifest import (
    KINDS,
    MANIFEST,
    default_model,
    find_model,
    list_models,
    read_manifest,
    write_manifest,
)
from LIPCARLib.inverse.manifest_table import CLASSES
from LIPCARLib.inverse.model import NETWORKS, load_model, save_model, verify_model
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.networks import VNet
from LIPCARLib.resources import RESOURCES

MakeNetwork = Callable[..., VNet]
WEIGHTS = ("prior.safetensors", "forward_operator.safetensors")


@pytest.fixture
def folder(model_folder: Path, tmp_path: Path) -> Path:
    """A copy that a test may spoil."""
    return Path(shutil.copytree(model_folder, tmp_path / "copy"))


def image(seed: int = 0, size: tuple[int, int] = (32, 48)) -> Tensor:
    return torch.rand((2, 1, *size), generator=torch.Generator().manual_seed(seed))


def alter(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    change(manifest)
    (folder / MANIFEST).write_text(json.dumps(manifest))


# Round trip


@torch.no_grad()
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("variant", [{"residual": True, "smooth": True}, {"residual": False, "smooth": False}])
def test_networks_come_back(channels: int, variant: dict[str, bool], tmp_path: Path, make_network: MakeNetwork) -> None:
    prior, forward = (make_network(channels, seed=seed, **variant) for seed in (5, 6))
    manifest = save_model(tmp_path / "new" / "folder", "mine", prior, forward, {"description": "A card."})
    assert manifest == tmp_path / "new" / "folder" / MANIFEST
    model = load_model(manifest.parent)
    low, pre = image(), image(1) if channels == 2 else None
    inputs = low if pre is None else torch.cat((pre, low), 1)
    for ours, theirs in ((model.forward_operator(low, pre), forward(inputs)), (model.prior(low, pre), prior(inputs))):
        expected = theirs if ours.min() < 0 else theirs.clamp_min(0)
        torch.testing.assert_close(ours, expected, atol=5e-3, rtol=0)
        assert expected.std() > 1e-2
    assert (model.prior(low, pre) - model.forward_operator(low, pre)).abs().max() > 5e-2
    assert (model.name, model.uses_predose) == ("mine", channels == 2)
    assert model.manifest["description"] == "A card."


def test_weights_come_back_rounded_to_float16(tmp_path: Path, make_network: MakeNetwork) -> None:
    prior, forward = make_network(1, seed=5), make_network(1, seed=6)
    save_model(tmp_path, "mine", prior, forward, {})
    loaded = load_model(tmp_path).state_dict()
    for part, network in (("_prior", prior), ("_forward_operator", forward)):
        for key, value in network.state_dict().items():
            found = loaded[f"{part}.{key}"]
            assert found.dtype == torch.float32
            assert torch.equal(found, value.half().float())
    assert len(loaded) == 2 * 64


def test_saving_again_from_a_loaded_model_changes_nothing(folder: Path, tmp_path: Path) -> None:
    model = load_model(folder)
    save_model(tmp_path / "again", model.name, model._prior, model._forward_operator, {})
    for name in (*WEIGHTS, MANIFEST):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_saving_leaves_only_the_model_behind(folder: Path) -> None:
    assert sorted(p.name for p in folder.iterdir()) == sorted((*WEIGHTS, MANIFEST))


def test_manifest_says_what_was_saved(folder: Path) -> None:
    manifest = read_manifest(folder)
    assert manifest["schema_version"] == 1
    assert manifest["uses_predose"] is True
    assert manifest["scale"] == SCALE_RULE
    expected = {"class": "VNet", "in_channels": 2, "residual": True, "smooth": False}
    assert manifest["architecture"] == {"prior": expected, "forward_operator": expected}
    for role in ("prior", "forward_operator"):
        entry = manifest["files"][role]
        assert entry["sha256"] == hashlib.sha256((folder / entry["path"]).read_bytes()).hexdigest()


def test_verify_names_every_file_with_its_hash(folder: Path) -> None:
    expected = {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in WEIGHTS}
    assert verify_model(folder) == expected


def test_digest_depends_on_both_files(folder: Path, tmp_path: Path, make_network: MakeNetwork) -> None:
    model = load_model(folder)
    other = make_network(2, seed=9)
    save_model(tmp_path / "a", "m", other, model._forward_operator, {})
    save_model(tmp_path / "b", "m", model._prior, other, {})
    digests = {load_model(f).digest for f in (folder, tmp_path / "a", tmp_path / "b")}
    assert len(digests) == 3
    assert load_model(folder).digest == model.digest
    assert all(len(d) == 64 for d in digests)


def test_a_manifest_is_replaced_whole(folder: Path) -> None:
    write_manifest(folder, {**read_manifest(folder), "name": "renamed"})
    assert load_model(folder).name == "renamed"
    assert not list(folder.glob("*.part"))


# Damage


def test_altered_byte_is_found(folder: Path) -> None:
    for name in WEIGHTS:
        path = folder / name
        good = path.read_bytes()
        bad = bytearray(good)
        bad[-7] ^= 1
        path.write_bytes(bytes(bad))
        with pytest.raises(LIPCARError) as error:
            verify_model(folder)
        assert name in str(error.value)
        assert hashlib.sha256(bytes(bad)).hexdigest()[:16] in str(error.value)
        assert hashlib.sha256(good).hexdigest()[:16] in str(error.value)
        path.write_bytes(good)
    assert verify_model(folder)


@pytest.mark.parametrize("size", [0, 5, 1000])
def test_truncated_file_is_found(size: int, folder: Path) -> None:
    path = folder / WEIGHTS[1]
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(LIPCARError, match=r"forward_operator\.safetensors is damaged"):
        load_model(folder)


def test_missing_file_is_named(folder: Path) -> None:
    (folder / WEIGHTS[0]).unlink()
    with pytest.raises(LIPCARError, match=r"prior\.safetensors cannot be read: No such file"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"not safetensors at all", b"\xff" * 64, b""])
def test_weights_of_another_format_are_refused_even_with_a_fitting_hash(content: bytes, folder: Path) -> None:
    (folder / WEIGHTS[0]).write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    alter(folder, lambda m: m["files"]["prior"].update(sha256=digest))
    with pytest.raises(LIPCARError, match="do not fit their architecture"):
        load_model(folder)


def with_weights(folder: Path, role: str, change: Callable[[dict[str, Tensor]], object], **metadata: str) -> None:
    """The same model with other weights in a role, and the hash that they have."""
    path = folder / f"{role}.safetensors"
    tensors = load_file(path)
    change(tensors)
    data = save(tensors, metadata or None)
    path.write_bytes(data)
    alter(folder, lambda m: m["files"][role].update(sha256=hashlib.sha256(data).hexdigest()))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            lambda t: t["stem.weight"].view(-1).__setitem__(3, torch.nan),
            r"'stem\.weight' has values that are no finite",
        ),
        (lambda t: t["head.bias"].fill_(torch.inf), r"'head\.bias' has values that are no finite"),
        (lambda t: t.pop("head.bias"), r"it has no 'head\.bias'"),
        (lambda t: t.update(more=torch.zeros(1)), "it has 'more', which is not expected"),
        (lambda t: t.update({"head.bias": torch.zeros(2)}), r"'head\.bias' is F32 \[2\], expected is F16 or F32 \[1\]"),
        (
            lambda t: t.update({"head.bias": torch.zeros(1).long()}),
            r"'head\.bias' is I64 \[1\], expected is F16 or F32",
        ),
        (lambda t: t.update({"head.bias": torch.zeros(1).double()}), r"'head\.bias' is F64"),
        (lambda t: t.clear(), "it has no 'stem"),
    ],
)
def test_weights_that_do_not_fit_are_refused_even_with_a_fitting_hash(
    change: Callable[[dict[str, Tensor]], object], reason: str, folder: Path
) -> None:
    with_weights(folder, "prior", change)
    with pytest.raises(LIPCARError, match=rf"prior\.safetensors do not fit their architecture .*{reason}"):
        load_model(folder)


def test_weights_of_a_network_with_other_inputs_are_refused(folder: Path, lowdose_model_folder: Path) -> None:
    shutil.copy(lowdose_model_folder / WEIGHTS[0], folder / WEIGHTS[0])
    digest = hashlib.sha256((folder / WEIGHTS[0]).read_bytes()).hexdigest()
    alter(folder, lambda m: m["files"]["prior"].update(sha256=digest))
    with pytest.raises(LIPCARError, match=r"'stem\.weight' is F16 \[12, 1, 1, 1\], expected .* \[12, 2, 1, 1\]"):
        load_model(folder)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_weights_that_never_end_are_not_read(folder: Path) -> None:
    path = folder / WEIGHTS[0]
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(LIPCARError, match=r"prior\.safetensors cannot be read: it is no regular file"):
        load_model(folder)
    path.unlink()
    path.symlink_to("/dev/zero")
    with pytest.raises(LIPCARError, match=r"prior\.safetensors cannot be read: it is no regular file"):
        load_model(folder)
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**36)  # a hole: it takes no space
    with pytest.raises(LIPCARError, match=r"prior\.safetensors cannot be read: it has more than"):
        load_model(folder)


def test_every_class_with_weights_can_be_built() -> None:
    assert NETWORKS.keys() == {name for name, known in CLASSES.items() if known.has_weights}
    assert {name for pair in KINDS for name in pair} == CLASSES.keys()


# Exchanged


def exchange(folder: Path, how: str) -> None:
    """Prior and forward operator: their entries in the manifest, their names there, or their files with the hashes."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    one, other = files["prior"], files["forward_operator"]
    if how == "files":
        for name, source in zip(WEIGHTS, reversed([(folder / name).read_bytes() for name in WEIGHTS]), strict=True):
            (folder / name).write_bytes(source)
        one["sha256"], other["sha256"] = other["sha256"], one["sha256"]
    elif how == "renamed":
        for role, entry in (("a", one), ("b", other)):
            (folder / entry["path"]).rename(folder / f"{role}.safetensors")
            entry["path"] = f"{role}.safetensors"
        one, other = other, one
    else:
        one, other = other, one
    alter(folder, lambda m: m.update(files={"prior": one, "forward_operator": other}))


@pytest.mark.parametrize("how", ["entries", "files", "renamed"])
@pytest.mark.parametrize("shipped", [False, True])
def test_exchanged_networks_are_refused(how: str, shipped: bool, folder: Path, tmp_path: Path) -> None:
    if shipped:  # these name no role themselves
        folder = Path(shutil.copytree(RESOURCES / "Models" / "vnet-predose", tmp_path / "mine"))
    assert load_model(folder)
    exchange(folder, how)
    with pytest.raises(LIPCARError, match="exchanged"):
        load_model(folder)


def test_one_network_cannot_play_both_roles(folder: Path) -> None:
    for role in ("prior", "forward_operator"):
        with_weights(folder, role, lambda t: t.update({key: torch.zeros_like(value) for key, value in t.items()}))
    with pytest.raises(LIPCARError, match="the same weights in two roles"):
        load_model(folder)


def test_weights_without_a_role_are_taken_as_the_manifest_names_them(folder: Path) -> None:
    with_weights(folder, "prior", lambda t: None)
    assert load_model(folder)


@pytest.mark.parametrize("architecture", [{}, {"class": "UNet", "in_channels": 2}, {"in_channels": 2}])
def test_unknown_architectures_are_refused(architecture: dict[str, Any], folder: Path) -> None:
    alter(folder, lambda m: m["architecture"].update(prior=architecture))
    with pytest.raises(LIPCARError, match="unknown architecture"):
        load_model(folder)


# Manifest


@pytest.mark.parametrize("version", [0, 2, "1", None])
def test_other_schema_is_refused(version: object, folder: Path) -> None:
    alter(folder, lambda m: m.update(schema_version=version))
    with pytest.raises(LIPCARError, match="schema version .* reads version 1"):
        load_model(folder)


@pytest.mark.parametrize(
    "text", ["", "{", '{"schema_version": 1,}', "[" * 100_000, '{"schema_version": ' + "1" * 10_000 + "}"]
)
def test_malformed_manifest_is_refused(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(LIPCARError, match=r"manifest\.json' cannot be read"):
        load_model(folder)


def test_manifest_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe{}")
    with pytest.raises(LIPCARError, match=r"manifest\.json' cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"name"', "{}"])
def test_manifest_of_another_kind_is_refused(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(LIPCARError, match="schema version None"):
        load_model(folder)


def put(manifest: dict[str, Any], key: str, value: object) -> None:
    *path, last = key.split(".")
    for name in path:
        manifest = manifest.setdefault(name, {})
    manifest[last] = value


WRONG = [
    ("name", ""),
    ("name", "x" * 10_000),
    ("uses_predose", "yes"),
    ("uses_predose", 1),
    ("uses_predose", False),
    ("architecture.prior.in_channels", 10**8),
    ("architecture.prior.in_channels", True),
    ("architecture.prior.in_channels", 2.0),
    ("architecture.prior.in_channels", "2"),
    ("architecture.prior.in_channels", -1),
    ("architecture.prior.residual", "no"),
    ("architecture.prior.width", 12),
    ("architecture.prior", {"class": "VNet"}),
    ("files.prior", ["prior.safetensors"]),
    ("files.prior.path", "prior\0.safetensors"),
    ("files.prior.path", "prior.pt"),
    ("files.prior.sha256", "0" * 63),
    ("files.another", {}),
    ("description", ["a"]),
    ("licence", 5),
    ("training", [1]),
    ("training.held_out_subjects", "all"),
    ("training.held_out_subjects", [1]),
    ("training.training_subjects", {}),
    ("training.clean_images_used_for_forward_operator", "yes"),
    ("metrics", 0.7),
    ("metrics", {"subjects": ["a"]}),
    ("metrics", {"subjects": 3, "slices": 1, "means_over_slices": {"a": {"ssim": 1.0, "body_rmse": 0.0}}}),
    ("metrics", {"subjects": [], "slices": 1, "means_over_slices": {"a": {"ssim": "high", "body_rmse": 0.0}}}),
    ("metrics", {"subjects": [], "slices": 1, "means_over_slices": {"a": {"ssim": 0.5}}}),
]
"""What no key of a manifest may hold."""


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m.pop("name"),
        lambda m: m.pop("files"),
        lambda m: m.pop("architecture"),
        lambda m: m["files"].pop("prior"),
        lambda m: m["files"]["forward_operator"].pop("sha256"),
        lambda m: m["files"]["prior"].pop("path"),
        lambda m: m["architecture"].pop("forward_operator"),
        lambda m: m.update(files=[1, 2]),
        lambda m: m.update(architecture=None),
        lambda m: m.update(name=7),
        lambda m: m["files"]["prior"].update(path=None),
        lambda m: m["architecture"].update(prior="VNet"),
        *(lambda m, key=key, value=value: put(m, key, value) for key, value in WRONG),
    ],
)
def test_incomplete_manifest_is_refused(change: Callable[[dict[str, Any]], object], folder: Path) -> None:
    alter(folder, change)
    with pytest.raises(LIPCARError, match=r"manifest\.json is (incomplete|malformed)"):
        load_model(folder)


@pytest.mark.parametrize("scale", [None, {**SCALE_RULE, "percentile": 99}, {"name": "max"}])
def test_another_scale_is_refused(scale: object, folder: Path) -> None:
    alter(folder, lambda m: m.update(scale=scale))
    with pytest.raises(LIPCARError, match="scaled by"):
        load_model(folder)


@pytest.mark.parametrize("escape", ["../prior.safetensors", "sub/prior.safetensors", "/etc/hostname", "..", ""])
def test_files_outside_the_folder_are_not_read(escape: str, folder: Path, tmp_path: Path) -> None:
    data = (folder / WEIGHTS[0]).read_bytes()
    (tmp_path / "prior.safetensors").write_bytes(data)
    (folder / "sub").mkdir()
    (folder / "sub" / "prior.safetensors").write_bytes(data)
    alter(folder, lambda m: m["files"]["prior"].update(path=escape))
    with pytest.raises(
        LIPCARError, match=r"'files\.prior\.path' is .*, expected is the name of a file in the model's folder"
    ):
        load_model(folder)


def test_networks_of_different_inputs_are_no_pair(tmp_path: Path, make_network: MakeNetwork) -> None:
    with pytest.raises(LIPCARError, match="not a pair"):  # whether at saving or at loading
        load_model(save_model(tmp_path, "mixed", make_network(1), make_network(2), {}).parent)


# Names


def test_a_shipped_name_means_the_shipped_model(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever lies in the working folder: a folder is told by a separator, or as a path."""
    mine = folder.rename(tmp_path / "vnet-predose")
    monkeypatch.chdir(tmp_path)
    assert find_model("vnet-predose") == RESOURCES / "Models" / "vnet-predose"
    for name in ("./vnet-predose", Path("vnet-predose"), str(mine)):
        assert find_model(name).resolve() == mine.resolve()
    monkeypatch.chdir(mine)
    for name in ("", "a\0b", "x" * 5000):
        with pytest.raises(LIPCARError, match="No model"):
            find_model(name)


def test_shipped_models_are_found_by_name(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shipped = tmp_path / "Resources" / "Models"
    for name in ("b-model", "a-model"):
        shutil.copytree(folder, shipped / name)
    (shipped / "no-model").mkdir()
    monkeypatch.setattr(manifest_module, "RESOURCES", tmp_path / "Resources")
    assert [entry.name for entry in list_models()] == ["a-model", "b-model"]
    assert torch.equal(load_model("b-model").prior(image(), image(1)), load_model(folder).prior(image(), image(1)))
    with pytest.raises(LIPCARError, match=r"No model 'c-model'.*a-model, b-model"):
        load_model("c-model")


def test_a_folder_without_manifest_is_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest_module, "RESOURCES", tmp_path)
    for name in (tmp_path, tmp_path / "missing", "unknown"):
        with pytest.raises(LIPCARError, match=r"No model .*none is installed"):
            load_model(name)


def test_defaults_go_by_the_predose_image() -> None:
    assert default_model(True) != default_model(False)


# In memory


def test_a_model_with_predose_input_asks_for_it(model: NetworkPair) -> None:
    for call in (model.prior, model.forward_operator):
        with pytest.raises(LIPCARError, match="'random-predose' needs a pre-dose image"):
            call(image())


@torch.no_grad()
def test_a_model_without_predose_input_ignores_it(lowdose_model: NetworkPair) -> None:
    assert torch.equal(lowdose_model.prior(image(), image(1)), lowdose_model.prior(image()))
    assert torch.equal(lowdose_model.forward_operator(image(), image(1)), lowdose_model.forward_operator(image()))


@torch.no_grad()
def test_predose_comes_first(model: NetworkPair) -> None:
    low, pre = image(), image(1)
    expected = model._forward_operator(torch.cat((pre, low), 1))
    torch.testing.assert_close(model.forward_operator(low, pre), expected, atol=1e-5, rtol=0)
    assert (model.forward_operator(pre, low) - expected).abs().max() > 0.1


@torch.no_grad()
def test_prior_is_not_negative_and_the_forward_operator_is_free(model: NetworkPair) -> None:
    low, pre = torch.zeros(1, 1, 32, 32), torch.zeros(1, 1, 32, 32)
    model._prior.head.bias.fill_(-1)
    model._forward_operator.head.bias.fill_(-1)
    assert model.prior(low, pre).min() == 0
    assert model.forward_operator(low, pre).min() < 0


def test_gradients_flow_to_the_image_only(model: NetworkPair) -> None:
    x = image().requires_grad_()
    model.forward_operator(x, image(1)).square().sum().backward()
    assert x.grad is not None
    assert x.grad.abs().mean() > 1e-2
    assert all(p.grad is None and not p.requires_grad for p in model.parameters())
    assert not model.training
