"""A model on disk comes back as it was, and anything wrong with it is said, never computed with."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from LIPCARLib.errors import LIPCARError
from LIPCARLib.imaging.intensity import SCALE_RULE
from LIPCARLib.inverse import manifest as manifest_module
from LIPCARLib.inverse.manifest import MANIFEST, default_model, list_models, read_manifest, write_manifest
from LIPCARLib.inverse.model import load_model, save_model, verify_model
from LIPCARLib.inverse.network_pair import NetworkPair
from LIPCARLib.inverse.networks import VNet

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


@pytest.mark.parametrize(
    "architecture",
    [
        {"class": "VNet", "in_channels": 1},
        {"class": "VNet", "in_channels": "2"},
        {"class": "VNet", "in_channels": -1},
        {"class": "VNet"},
        {"class": "VNet", "in_channels": 2, "width": 12},
    ],
)
def test_weights_that_do_not_fit_are_refused(architecture: dict[str, Any], folder: Path) -> None:
    alter(folder, lambda m: m["architecture"].update(prior=architecture))
    with pytest.raises(LIPCARError, match="do not fit their architecture"):
        load_model(folder)


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


@pytest.mark.parametrize("text", ["", "{", '{"schema_version": 1,}', "\ufeff{}"])
def test_malformed_manifest_is_refused(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    with pytest.raises(LIPCARError, match=r"manifest\.json cannot be read"):
        load_model(folder)


def test_manifest_that_is_no_text_is_refused(folder: Path) -> None:
    (folder / MANIFEST).write_bytes(b"\xff\xfe{}")
    with pytest.raises(LIPCARError, match=r"manifest\.json cannot be read"):
        load_model(folder)


@pytest.mark.parametrize("text", ["[]", "null", "1", '"name"', "{}"])
def test_manifest_of_another_kind_is_refused(text: str, folder: Path) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(LIPCARError, match="schema version None"):
        load_model(folder)


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
    with pytest.raises(LIPCARError, match="outside the model's folder|cannot be read"):
        load_model(folder)


def test_networks_of_different_inputs_are_no_pair(tmp_path: Path, make_network: MakeNetwork) -> None:
    with pytest.raises(LIPCARError, match="not a pair"):  # whether at saving or at loading
        load_model(save_model(tmp_path, "mixed", make_network(1), make_network(2), {}).parent)


# Names


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
