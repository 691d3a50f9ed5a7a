"""A patient who moved is moved back, in any direction; one who did not is left alone, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.transform import Rotation

from LIPCARLib.imaging import Examination, Grid
from LIPCARLib.imaging.motion import Motion, _turn, find_motion, places_in

SPACING = np.array([3.0, 1.0, 1.0])
"""mm along S, H and W."""
SHAPE = (20, 96, 96)


def tissue(places: np.ndarray) -> np.ndarray:
    """A soft ellipsoid with structure in it, at any places (..., 3) in mm from its center along S, H and W."""
    z, y, x = np.moveaxis(places, -1, 0)
    inside = 1 / (1 + np.exp((np.sqrt((z / 24) ** 2 + (y / 38) ** 2 + (x / 32) ** 2) - 1) * 20))
    rng = np.random.default_rng(5)
    waves = sum(
        np.sin(places @ direction + phase)
        for direction, phase in zip(rng.normal(size=(12, 3)) * (0.15, 0.3, 0.3), rng.uniform(0, 6, 12), strict=True)
    )
    return np.clip(inside * (400 + 60 * waves), 0, None)


def places(shape: tuple[int, ...] = SHAPE, spacing: np.ndarray = SPACING) -> np.ndarray:
    indices = np.stack(np.meshgrid(*(np.arange(n) - (n - 1) / 2 for n in shape), indexing="ij"), -1)
    return indices * spacing


def seen(at: np.ndarray, seed: int, noise: float = 20.0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    first, second = noise * rng.standard_normal((2, *at.shape[:-1]))
    return np.hypot(tissue(at) + first, second).astype(np.float32)


def enhanced(at: np.ndarray, seed: int = 1) -> np.ndarray:
    lesion = np.linalg.norm(at - (3, 10, -8), axis=-1) < 7
    return np.where(lesion, np.float32(1.3), np.float32(1)) * seen(at, seed)


def image_of(array: np.ndarray, spacing: np.ndarray = SPACING, direction: np.ndarray | None = None) -> sitk.Image:
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing(spacing[::-1].tolist())
    if direction is not None:
        image.SetDirection(direction.ravel().tolist())
    # The center of the image lies at the physical origin, whatever the grid.
    middle = image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])
    image.SetOrigin((np.array(image.GetOrigin()) - middle).tolist())
    return image


def turned(degrees: tuple[float, float, float]) -> np.ndarray:
    return Rotation.from_rotvec(degrees, degrees=True).as_matrix()


def body(at: np.ndarray) -> np.ndarray:
    return tissue(at) > 200


@pytest.mark.parametrize(
    ("degrees", "shift"),
    [((0, 0, 0), (4, 0, 0)), ((6, 0, 0), (0, 3, -2)), ((2, -4, 3), (-2, 1, 4)), ((0, 8, 0), (0, 0, 0))],
)
def test_a_movement_is_found_and_undone(degrees: tuple[float, ...], shift: tuple[float, ...]) -> None:
    at, rotation = places(), turned(degrees)
    # Tissue at x lies at rotation x + shift in the moved image, which so shows at y what is at the inverse of y.
    moved = seen((at - shift) @ rotation, 2)
    low, still = enhanced(at), seen(at, 2)
    found = find_motion(moved, low, SPACING)
    there = at[body(at)]
    middle = (np.array(SHAPE) - 1) / 2 * SPACING
    error = np.linalg.norm(found(there + middle) - middle - (there @ rotation.T + shift), axis=1)
    assert error.max() < 0.25  # mm; the slices are 3 mm thick
    undone = Examination.from_images(image_of(low), image_of(moved))
    assert undone.predose_motion.angle == pytest.approx(np.linalg.norm(degrees), abs=0.3)
    assert undone.predose_motion.distance == pytest.approx(np.linalg.norm(shift), abs=0.2)
    assert undone.predose_shift == undone.predose_rest == (0, 0)
    (notice,) = (n for n in undone.notices if "lay beside" in n)
    assert "mm to the" in notice and "degrees" in notice
    inner = np.s_[3:-3, 12:-12, 12:-12]
    before, after = (np.sqrt(np.mean((image[inner] - tissue(at)[inner]) ** 2)) for image in (moved, undone.predose))
    assert after < 1.2 * np.sqrt(np.mean((still[inner] - tissue(at)[inner]) ** 2)) < before
    np.testing.assert_array_equal(find_motion(moved, low, SPACING).rotation, found.rotation)


def test_who_did_not_move_is_left_alone() -> None:
    at = places()
    low, pre = enhanced(at), seen(at, 2)
    still = Examination.from_images(image_of(low), image_of(pre))
    assert still.predose_motion is None and still.predose_known is None
    assert not any("lay beside" in notice for notice in still.notices)
    np.testing.assert_array_equal(still.predose, pre)
    unmatched = Examination.from_images(image_of(low), image_of(seen(at @ turned((6, 0, 0)), 2)), match_predose=False)
    assert unmatched.predose_motion is None


@pytest.mark.parametrize("slice_axis", [0, 1, 2])
def test_directions_are_the_patients(slice_axis: int) -> None:
    """Whatever way the slices lie: the head moved 3 mm to the left and 4 towards the feet, so it is moved back."""
    axes = turned((0, 0, 20)) @ np.eye(3)[:, [2, 0, 1]] @ np.diag([1, -1, 1])  # of the indices; left-handed
    at = places()
    along = axes.T @ np.array([3.0, 0.0, -4.0])  # along i, j and k
    order = {2: [2, 1, 0], 1: [1, 2, 0], 0: [0, 2, 1]}[slice_axis]
    shape, spacing = (np.empty(3, int), np.empty(3))
    for axis, n, mm in zip(order, SHAPE, SPACING, strict=True):
        shape[axis], spacing[axis] = n, mm
    shift = along[order]
    low, moved = (np.transpose(v, np.argsort([2 - a for a in order])) for v in (enhanced(at), seen(at - shift, 2)))
    images = [image_of(v, spacing[::-1], axes) for v in (np.ascontiguousarray(low), np.ascontiguousarray(moved))]
    found = Examination.from_images(*images)
    assert found.slice_axis == slice_axis
    assert "3.0 mm to the right" in found.motion_words() or "2.9 mm to the right" in found.motion_words()
    assert "4.0 mm to the head" in found.motion_words() or "3.9 mm to the head" in found.motion_words()
    assert "0.0 mm to the" in found.motion_words()


def test_no_turn_has_no_sign() -> None:
    """A turn of a hundredth of a degree rounds to zero, on either side of it."""
    grid = Grid.of(image_of(enhanced(places())))
    words = Motion(turned((-0.01, 0.01, 5)), np.zeros(3), np.array([1.0, 0, 0])).words(grid, 2)
    assert "-0.0" not in words and words.count("+0.0 about") == 2


def test_a_predose_image_on_its_own_grid_is_interpolated_once() -> None:
    at, own = places(), places((30, 80, 90), np.array([2.2, 1.2, 1.1]))
    direction = turned((0, 0, 10))
    rotation = turned((3, 2, -4))
    # Its voxels lie in physical space along other axes: (i, j, k) is (W, H, S) reversed.
    physical = (own[..., ::-1] @ direction.T)[..., ::-1]
    moved = seen((physical - (2, 1, -1)) @ rotation, 2, noise=5)
    found = Examination.from_images(image_of(enhanced(at)), image_of(moved, np.array([2.2, 1.2, 1.1]), direction))
    assert found.predose_motion.angle == pytest.approx(np.linalg.norm((3, 2, -4)), abs=0.3)
    inner = np.s_[3:-3, 12:-12, 12:-12]
    rest = found.predose[inner] / found.predose_gain - tissue(at)[inner]
    assert np.sqrt(np.mean(rest**2)) < 15


def test_few_slices_are_turned_within_the_slice() -> None:
    at = places((4, 96, 96))
    low, moved = enhanced(at), seen((at - (0, 1, 2)) @ turned((5, 0, 0)), 2)
    found = Examination.from_images(image_of(low), image_of(moved))
    assert found.predose_motion.angle == pytest.approx(5, abs=0.2)
    assert found.predose_motion.shift[0] == 0
    single = Examination.from_images(*(image_of(v[1], SPACING[1:]) for v in (low, moved)))
    assert single.predose_motion.angle == pytest.approx(5, abs=0.2)


def test_a_large_shift_within_the_slice_is_undone_too() -> None:
    at = places()
    found = Examination.from_images(image_of(enhanced(at)), image_of(seen(at - (0, 9, -6), 2)))
    assert found.predose_motion is not None and found.predose_motion.distance == pytest.approx(10.8, abs=0.2)


def test_what_moved_too_far_is_left_and_said() -> None:
    at = places()
    moved = seen(at @ turned((23, 0, 0)), 2)
    found = Examination.from_images(image_of(enhanced(at)), image_of(moved))
    assert found.predose_motion is None
    assert any("more than 30 mm or 20 degrees" in notice for notice in found.notices)


def test_small_or_empty_images_tell_no_movement() -> None:
    at = places((20, 24, 24))
    assert find_motion(seen(at, 1), seen(at, 2), SPACING) is None
    dark = np.zeros(SHAPE, np.float32)
    dark[0, :5, :5] = 1
    assert find_motion(dark, dark, SPACING) is None


@pytest.mark.parametrize("vector", [(0.0, 0.0, 0.0), (1e-9, 0.0, 0.0), (0.1, -0.2, 0.3), (0.0, 0.0, 3.1)])
def test_a_turn_is_the_rotation_about_its_vector(vector: tuple[float, float, float]) -> None:
    expected = Rotation.from_rotvec(vector).as_matrix()
    np.testing.assert_allclose(_turn(np.array(vector)), expected, atol=1e-15)


def test_places_are_every_so_many_voxels_of_a_mask() -> None:
    mask = np.random.default_rng(0).random((3, 7, 5)) > 0.5
    np.testing.assert_array_equal(places_in(mask, 4), np.argwhere(mask)[::4])
