"""Where the views of several images go."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("count", "width", "columns"), [(2, 900, 2), (3, 1000, 3), (4, 1000, 2), (5, 1000, 3), (5, 700, 2), (5, 100, 1)]
)
def test_views_fit_side_by_side(slicer: Any, count: int, width: int, columns: int) -> None:
    from LIPCARLib.slicer.views import columns_for, layout_of

    assert columns_for(count, width) == columns
    layout = ET.fromstring(layout_of(count, columns))
    tags = [view.get("singletontag") for view in layout.iter("view")]
    assert tags == [f"LIPCAR{number}" for number in range(1, count + 1)]
    assert max(len(row.findall("item")) for row in layout.iter("layout") if row.get("type") == "horizontal") == columns


def test_without_a_window_nothing_is_shown(slicer: Any, lowdose: Any) -> None:
    from LIPCARLib.slicer.views import SlicerViews

    SlicerViews().show(lowdose)
    assert SlicerViews().slice_on_screen(lowdose, 2) == 1
