"""Weights in safetensors files: what a file holds is compared with what is expected before anything is made of it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from reprlib import repr as shortened

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from ..json_file import parse_json, read_file

LARGEST_HEADER = 4 * 2**20
"""Bytes; that of a V-Net has some thousands, a checkpoint's history comes on top."""
Shapes = Mapping[str, tuple[int, ...]]
"""Of tensors by name."""


@dataclass(frozen=True)
class Header:
    """What a safetensors file says it holds: each tensor's type ("F32") and shape, and texts by key.

    >>> Header({"bias": "F32"}, {"bias": (2,)}, {}).shapes["bias"]
    (2,)
    """

    types: Mapping[str, str]
    shapes: Shapes
    metadata: Mapping[str, str]


def shapes_of(network: nn.Module, prefix: str = "") -> dict[str, tuple[int, ...]]:
    """Of a network's weights; it may stand on torch's "meta" device, where nothing is allocated.

    >>> shapes_of(nn.Linear(3, 2), "head.")
    {'head.weight': (2, 3), 'head.bias': (2,)}
    """
    return {prefix + key: tuple(value.shape) for key, value in network.state_dict().items()}


def read_weights_file(path: Path, most: int) -> bytes:
    """The content of a safetensors file with at most so many numbers.

    Raises:
        OSError, ValueError: as `json_file.read_file`.

    >>> read_weights_file(Path("missing.safetensors"), 10)
    Traceback (most recent call last):
    FileNotFoundError: [Errno 2] No such file or directory: 'missing.safetensors'
    """
    return read_file(path, 8 + LARGEST_HEADER + 4 * most)


def numbers_in(shapes: Shapes) -> int:
    """How many numbers these tensors have.

    >>> numbers_in({"weight": (2, 3), "bias": ()})
    7
    """
    return sum(map(prod, shapes.values()))


def read_header(data: bytes) -> Header:
    """The header of a safetensors file.

    Raises:
        ValueError: it is no such file; it says what, as the end of a sentence.

    >>> from safetensors.torch import save
    >>> read_header(save({"bias": torch.zeros(2)}, {"role": "prior"}))
    Header(types={'bias': 'F32'}, shapes={'bias': (2,)}, metadata={'role': 'prior'})
    """
    length = int.from_bytes(data[:8], "little")
    if len(data) < 8 or length > min(len(data) - 8, LARGEST_HEADER):
        raise ValueError("it is cut short, or no safetensors file")
    content = parse_json(data[8 : 8 + length])
    try:
        metadata = content.pop("__metadata__", {})
        types = {name: entry["dtype"] for name, entry in content.items()}
        shapes = {name: tuple(entry["shape"]) for name, entry in content.items()}
        plain = all(isinstance(text, str) for text in (*types.values(), *metadata.keys(), *metadata.values()))
    except (AttributeError, KeyError, TypeError):
        plain = False
    if not plain:
        raise ValueError("its header is not that of a safetensors file")
    return Header(types, shapes, metadata)


def unpack(data: bytes, expected: Shapes, types: Collection[str] = ("F32",)) -> dict[str, Tensor]:
    """The tensors of a safetensors file, as float32: exactly the expected ones, all numbers finite.

    Args:
        data: the file's content.
        expected: names and shapes.
        types: of "F16" and "F32", those that are taken.

    Raises:
        ValueError: anything else; it says what, as the end of a sentence.

    >>> from safetensors.torch import save
    >>> unpack(save({"bias": torch.tensor([0.0, torch.nan])}), {"bias": (2,)})
    Traceback (most recent call last):
    ValueError: its 'bias' has values that are no finite numbers
    """
    header = read_header(data)
    if missing := [name for name in expected if name not in header.shapes]:
        raise ValueError(f"it has no '{missing[0]}'")
    if unknown := [name for name in header.shapes if name not in expected]:
        raise ValueError(f"it has {shortened(unknown[0])}, which is not expected")
    for name, shape in expected.items():
        if header.shapes[name] != shape or header.types[name] not in types:
            found = f"{header.types[name]} {shortened(list(header.shapes[name]))}"
            raise ValueError(f"its '{name}' is {found}, expected is {' or '.join(types)} {list(shape)}")
    try:
        loaded = load(data)
    except SafetensorError as error:
        raise ValueError(f"it is damaged: {error}") from error
    tensors = {name: loaded[name].float() for name in expected}
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise ValueError(f"its '{name}' has values that are no finite numbers")
    return tensors
