"""The reader marks what rises, blind and by one rule; what it found is measured as others measure it."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial.distance import cdist
from skimage.segmentation import find_boundaries

from LIPCARLib.trust.detection import (
    connected_regions,
    count_invented,
    count_outside,
    enhancement,
    hausdorff95,
    read_enhancement,
    read_lesions,
)

SPACING = (2.0, 0.5, 0.75)
SHAPE = (4, 64, 64)
PLACES = ((1, 16, 16), (2, 40, 20), (2, 20, 44))
Reading = tuple[list[bool], int]


def ball(place: tuple[int, int, int], radius: float) -> np.ndarray:
    """Voxels within so many mm."""
    away = (np.indices(SHAPE) - np.reshape(place, (3, 1, 1, 1))) * np.reshape(SPACING, (3, 1, 1, 1))
    return np.sqrt((away**2).sum(0)) <= radius


@pytest.fixture(scope="module")
def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Pre-dose image, image, lesions and where to read: two tissues, noise of 2, lesions that rise by 40."""
    rng = np.random.default_rng(0)
    tissue = np.where(np.indices(SHAPE)[1] < 30, 100.0, 70.0)
    lesions = sum(number * ball(place, 2.5) for number, place in enumerate(PLACES, start=1))
    predose, image = (tissue + rise + 2 * rng.standard_normal(SHAPE) for rise in (0, 40 * (lesions > 0)))
    region = np.zeros(SHAPE, bool)
    region[:, 3:-3, 3:-3] = True
    return predose.astype(np.float32), image.astype(np.float32), lesions, region


def read(image: np.ndarray, predose: np.ndarray, lesions: np.ndarray, region: np.ndarray) -> Reading:
    found = read_enhancement(image, predose, region, SPACING)
    return [one.found for one in read_lesions(found, lesions, SPACING)], count_outside(found, lesions > 0)


def test_every_lesion_is_found_and_nothing_else(scene: tuple[np.ndarray, ...]) -> None:
    predose, image, lesions, region = scene
    assert read(image, predose, lesions, region) == ([True] * 3, 0)
    assert read(predose, predose, lesions, region) == ([False] * 3, 0)  # a pre-dose image shows none
    assert read(image * 0, predose, lesions, region) == ([False] * 3, 0)
    assert read(image, predose * 0, lesions, region) == ([False] * 3, 0)
    assert read(image, predose, lesions, region & False) == ([False] * 3, 0)


def test_a_removed_lesion_is_missed_and_no_other(scene: tuple[np.ndarray, ...]) -> None:
    predose, image, lesions, region = scene
    for number in (1, 2, 3):
        removed = np.where(lesions == number, image - 40, image)
        assert read(removed, predose, lesions, region) == ([other != number for other in (1, 2, 3)], 0)


def test_an_added_blob_is_one_false_positive(scene: tuple[np.ndarray, ...]) -> None:
    predose, image, lesions, region = scene
    assert read(image + 40 * ball((1, 48, 48), 2), predose, lesions, region) == ([True] * 3, 1)
    outside = image.copy()
    outside[:, :2] += 40
    assert read(outside, predose, lesions, region) == ([True] * 3, 0)


def test_what_is_shown_is_invented_where_less_than_half_of_it_is_true(scene: tuple[np.ndarray, ...]) -> None:
    predose, image, _, region = scene
    found = read_enhancement(image, predose, region, SPACING)
    shown = enhancement(image, predose, region)
    for share, expected in ((1.0, 0), (0.6, 0), (0.4, 3), (0.0, 3)):
        true = enhancement(predose + share * (image - predose), predose, region)
        assert count_invented(found, shown, true) == expected
    assert count_invented(found * 0, shown, shown) == 0
    blob = image + 40 * ball((1, 48, 48), 2)
    marked = read_enhancement(blob, predose, region, SPACING)
    assert count_invented(marked, enhancement(blob, predose, region), shown) == 1


def test_the_reader_minds_no_gain_and_no_noise_that_is_its_own(scene: tuple[np.ndarray, ...]) -> None:
    predose, image, _, region = scene
    marked = read_enhancement(image, predose, region, SPACING)
    for gain, other in ((2.0, 1.0), (0.25, 8.0), (1.3, 0.7)):
        again = read_enhancement(np.float32(gain) * image, np.float32(other) * predose, region, SPACING)
        np.testing.assert_array_equal(again, marked)
    # Extrapolation stretches noise and enhancement alike: what an eye finds stays the same.
    np.testing.assert_array_equal(read_enhancement(predose + 5 * (image - predose), predose, region, SPACING), marked)
    faint = predose + np.float32(0.001) * (image - predose)
    assert not read_enhancement(faint, predose, region, SPACING).any()  # but none sees a change of 0.04 %


def test_a_region_that_runs_over_everything_finds_nothing(scene: tuple[np.ndarray, ...]) -> None:
    _, _, lesions, region = scene
    everything = connected_regions(region, SPACING)
    assert not any(one.found for one in read_lesions(everything, lesions, SPACING))
    assert count_outside(everything, lesions > 0) == 1


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1))
def test_overlap_and_distance_are_what_others_measure(seed: int) -> None:
    rng = np.random.default_rng(seed)
    spacing = tuple(rng.uniform(0.4, 3.0, 3))
    field = ndimage.gaussian_filter(rng.standard_normal((5, 24, 24)), (0.6, 2, 2))
    lesion = field > np.quantile(field, rng.uniform(0.7, 0.95))
    moved = ndimage.shift(lesion.astype(float), (0, *rng.integers(-2, 3, 2)), order=0) > 0.5
    found = moved | (rng.random(lesion.shape) < 0.01)
    (reading,) = read_lesions(found.astype(int), lesion.astype(int), spacing)
    images = [sitk.GetImageFromArray(mask.astype(np.uint8)) for mask in (lesion, found)]
    measures = sitk.LabelOverlapMeasuresImageFilter()
    measures.Execute(*images)
    voxel = float(np.prod(spacing))
    assert reading.volume == pytest.approx(voxel * lesion.sum())
    if not reading.found:
        assert (lesion & found).sum() < 0.1 * max(lesion.sum(), found.sum())
        assert (reading.dice, reading.found_volume, reading.hausdorff95) == (0, 0, None)
        return
    assert reading.dice == pytest.approx(measures.GetDiceCoefficient())
    assert reading.found_volume / reading.volume - 1 == pytest.approx(
        (found.sum() - lesion.sum()) / lesion.sum(), abs=1e-9
    )
    points = [
        np.argwhere([find_boundaries(np.pad(p, 1), 1, "inner")[1:-1, 1:-1] for p in m]) * spacing
        for m in (lesion, found)
    ]
    apart = cdist(*points)
    expected = max(np.percentile(apart.min(axis), 95) for axis in (0, 1))
    assert reading.hausdorff95 == pytest.approx(expected)
    assert hausdorff95(found, lesion, spacing) == pytest.approx(expected)
    assert hausdorff95(lesion, lesion, spacing) == 0


def test_regions_join_over_slices_that_are_no_further_apart_than_they_are_wide() -> None:
    mask = ball((1, 30, 30), 3) | ball((1, 50, 50), 0.8)
    mask[3, 50, 50] = True
    near = connected_regions(mask, SPACING)
    assert near.max() == 3  # what is a slice apart and touches at no corner is two
    far = connected_regions(mask, (30.0, *SPACING[1:]))
    slices = [len(np.unique(plane)) - 1 for plane in far]
    assert slices == [1, 2, 1, 1] and far.max() == 5
    labels = sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8)), True)
    np.testing.assert_array_equal(near > 0, sitk.GetArrayFromImage(labels) > 0)
    assert near.max() == sitk.GetArrayFromImage(labels).max()
    assert not connected_regions(mask & False, SPACING).any()


def test_the_size_of_a_lesion_is_that_of_its_largest_section_with_its_core() -> None:
    whole = ball((1, 30, 30), 8)
    for lesion in (whole, whole & ~ball((1, 30, 30), 5)):
        (one,) = read_lesions(lesion * 0, lesion.astype(int), SPACING)
        assert one.diameter == pytest.approx(16, rel=0.02)
