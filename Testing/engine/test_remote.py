"""Addresses and tokens as users write them."""

from __future__ import annotations

from pathlib import Path

import pytest

from LIPCARLib.engine import address_of, read_token
from LIPCARLib.errors import LIPCARError


@pytest.mark.parametrize("text", ["", ":8765", "host:", "host:0", "host:65536", "host:http", "http://host", "a b", "ü"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(LIPCARError, match="host:port is expected"):
        address_of(text)


def test_a_token_comes_from_a_file_or_the_environment(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("0123456789abcdef\n")
    assert read_token(file, {"LIPCAR_ENGINE_TOKEN": "ignored, there is a file"}) == b"0123456789abcdef"
    assert read_token(None, {"LIPCAR_ENGINE_TOKEN_FILE": str(file)}) == b"0123456789abcdef"
    assert read_token(None, {}) is None
    with pytest.raises(LIPCARError, match="5 characters; at least 16"):
        read_token(None, {"LIPCAR_ENGINE_TOKEN": "short"})
    with pytest.raises(LIPCARError, match="cannot be read"):
        read_token(tmp_path / "missing")
