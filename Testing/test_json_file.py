"""What is read of files that someone may have altered is bounded, and the reason of a refusal is said."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from LIPCARLib.errors import LIPCARError
from LIPCARLib.json_file import DEEPEST, MOST_DIGITS, parse_json, read_file, read_json

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**80), 10**80)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(value=PLAIN)
def test_what_python_writes_comes_back(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    assert parse_json(text) == json.loads(text) == parse_json(json.dumps(value).encode("utf-8-sig"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "no JSON"),
        (b'{"a": 1,}', "no JSON"),
        (b'{"a": 1} {"b": 2}', "no JSON"),
        (b"\xff\xfe{\x00}\x00", "no text in UTF-8"),
        ('{"a": 1}'.encode("utf-16"), "no text in UTF-8"),
        (b'{"a": NaN}', "NaN for a number"),
        (b'{"a": -Infinity}', "-Infinity for a number"),
        (b'{"a": 1e999}', "too large"),
        (b'{"a": ' + b"7" * 10_000 + b"}", "a number of 10000 characters"),
        (b'{"a": 0.' + b"7" * 10_000 + b"}", "a number of 10002 characters"),
        (b'{"a": 1, "b": {"c": 1, "c": 1}}', "the key 'c' twice"),
        (b"[" * 100_000, "nested more than|no JSON"),
        (b"[" * 100_000 + b"]" * 100_000, "nested more than"),
        (b'{"a":' * 100_000 + b"1" + b"}" * 100_000, "nested more than"),
        (b"[" * (DEEPEST + 1) + b"]" * (DEEPEST + 1), "nested more than"),
    ],
    ids=range(15),
)
def test_what_is_refused_is_said(data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_json(data)
    (tmp_path / "x.json").write_bytes(data)
    with pytest.raises(LIPCARError, match=rf"^The card .*x\.json' cannot be read: .*({reason}).*\. Restore it\.$"):
        read_json(tmp_path / "x.json", "card", "Restore it.")


def test_what_is_just_within_the_bounds_is_read() -> None:
    assert parse_json(b"[" * DEEPEST + b"]" * DEEPEST)
    assert parse_json("9" * MOST_DIGITS) == int("9" * MOST_DIGITS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes in the file system here")
def test_a_pipe_a_device_or_a_folder_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    os.symlink("/dev/zero", tmp_path / "zero")
    for path in (tmp_path / "pipe", tmp_path / "zero", tmp_path):
        with pytest.raises(LIPCARError, match="it is no regular file"):
            read_json(path, "card", "")


def test_other_files_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(b"12345")
    assert read_file(tmp_path / "large", 5) == b"12345"
    with pytest.raises(ValueError, match="more than 4 bytes"):
        read_file(tmp_path / "large", 4)
    for path in (tmp_path / "missing", Path("nul\0"), tmp_path / ("x" * 300)):
        with pytest.raises(LIPCARError, match="cannot be read"):
            read_json(path, "card", "")
