"""The weight that a user gives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from LIPCARLib.errors import LIPCARError
from LIPCARLib.inverse import AUTO, AUTO_DESCRIPTION, check_alpha


@pytest.mark.parametrize("alpha", ["", "none", "-1", 0, float("nan"), "inf", "even", "discrepancy", "1e7"])
def test_alpha_is_a_number_with_bounds_or_auto(alpha: float | str) -> None:
    with pytest.raises(LIPCARError, match=rf"alpha is {alpha}; 'auto' or a number above 0 and up to 1e.06 is expected"):
        check_alpha(alpha)
    assert check_alpha("0.01") == check_alpha(0.01) == 0.01
    assert check_alpha("auto") == AUTO == "auto"


def test_auto_is_described_in_one_line() -> None:
    assert AUTO_DESCRIPTION.startswith("auto: ") and "\n" not in AUTO_DESCRIPTION and len(AUTO_DESCRIPTION) < 200


def test_a_panel_can_check_alpha_without_torch() -> None:
    code = "import sys, LIPCARLib.inverse as i; i.check_alpha(i.AUTO); sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).resolve().parents[2], check=True)
