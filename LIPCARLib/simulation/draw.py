"""Examinations drawn on the fly for training: wide rather than pretty, parameters first, images second."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ..physics import DOSE_FRACTION, Acquisition, PulseSequence, batch_curve
from .cells import LINEAR
from .phantom import painted_slice
from .subject import SubjectParameters, draw_subject

TARGET = 0.5
"""Model scale: the 90th percentile of the low-dose foreground (`imaging.intensity`)."""
SCALES = (3, 6, 12, 24, 48)
"""Correlation lengths of the random fields, in pixels."""
CLASSES = 10
"""Kinds of tissue in an examination."""
SHEETS = 5
"""Sets of thin sheets and vessels in an examination."""
LESIONS = 6
HEADS = 0.2
"""Share of examinations whose tissue is an anatomy (`subject.draw_subject`) instead of shapes at random."""


@dataclass(frozen=True)
class Parameters:
    """Everything about N examinations that is not a picture, drawn before any image; (N,) or (N, K) by row.

    Attributes:
        acquisitions: how the images are made; a gradient echo with 1 ms and 90 degrees is the law linear in the dose.
        dose_fraction: low dose over full dose.
        noise: standard deviation in model scale, of either image.
        correlated: width of the noise's smoothing in pixels, 0 for white noise.
        told_acquisitions, told_dose_fraction: what a network is told: the truth, the truth with an error, or what is
            assumed where nothing is known.
        sequence_told, dose_told: 1 or 0.
        shift: of the pre-dose image, pixels, (N, 2).
        drift: of the high-dose image, of which the low dose has its share, pixels, (N, 2).
        gain: slow relative drift of pre-dose image, low-dose image, and enhancement, (N, 3).
        masked: 1 where what lies outside the body is set to zero in all images.
        ghost: strength of a ghost in pre-dose and low-dose image, (N, 2).
        heads: seed of the subject (`draw_subject`) whose anatomy, acquisition and dose fraction it has; None for shapes
            at random.
    """

    acquisitions: tuple[Acquisition, ...]
    dose_fraction: Tensor
    noise: Tensor
    correlated: Tensor
    told_acquisitions: tuple[Acquisition, ...]
    told_dose_fraction: Tensor
    sequence_told: Tensor
    dose_told: Tensor
    shift: Tensor
    drift: Tensor
    gain: Tensor
    masked: Tensor
    ghost: Tensor
    heads: tuple[int | None, ...]


@dataclass(frozen=True)
class Drawn:
    """A batch of examinations, images (N, 1, H, W) in model scale.

    Attributes:
        predose, lowdose: as acquired.
        highdose: the truth, free of noise.
        body: boolean, where there is tissue.
        parameters: what they were made from.
    """

    predose: Tensor
    lowdose: Tensor
    highdose: Tensor
    body: Tensor
    parameters: Parameters


class _Dice:
    """Random numbers of one generator."""

    def __init__(self, generator: torch.Generator, batch: int) -> None:
        self.generator, self.batch = generator, batch

    def uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand((self.batch, *shape), generator=self.generator)

    def log_uniform(self, low: float, high: float, *shape: int) -> Tensor:
        return self.uniform(math.log(low), math.log(high), *shape).exp()

    def normal(self, *shape: int) -> Tensor:
        return torch.randn((self.batch, *shape), generator=self.generator)

    def chance(self, probability: float | Tensor, *shape: int) -> Tensor:
        return (torch.rand((self.batch, *shape), generator=self.generator) < probability).float()


def draw_batch(generator: torch.Generator, batch: int, size: int) -> Drawn:
    """`batch` examinations of one slice of size x size pixels. The same generator state gives the same batch."""
    parameters = draw_parameters(generator, batch)
    return draw_images(generator, parameters, size)


def draw_parameters(generator: torch.Generator, batch: int) -> Parameters:
    """Sequence, dose, noise, what is told of them, and disturbances of `batch` examinations."""
    dice = _Dice(generator, batch)
    heads = _heads(dice)
    acquisitions = list(_acquisitions(dice))
    dose = dice.uniform(0.1, 0.35)
    dose = torch.where(dice.chance(0.35) > 0, 0.2 + 0.02 * dice.normal().clamp(-2, 2), dose)
    for row, seed in enumerate(heads):
        if seed is not None:
            subject = draw_subject(seed, 0)
            acquisitions[row], dose[row] = subject.acquisition, subject.dose_fraction
    noise = dice.log_uniform(0.003, 0.06)
    sequence_told, dose_told = dice.chance(0.75), dice.chance(0.8)
    told_dose = dose * (1 + 0.15 * dice.chance(0.15) * dice.normal().clamp(-2, 2))
    # A gain that is settled is off by half a percent, one in sixteen is not settled. Images before and after a full
    # dose differ by more: that change is in the truth, and the low dose has its share.
    unsettled = 1 + 6 * dice.chance(0.06)
    drifts = torch.stack(
        (0.005 * dice.chance(0.5) * unsettled, 0.004 * dice.chance(0.5), 0.06 * dice.chance(0.75)), dim=1
    )
    return Parameters(
        acquisitions=tuple(acquisitions),
        dose_fraction=dose,
        noise=noise,
        correlated=dice.chance(0.4) * dice.uniform(0.35, 0.8),
        told_acquisitions=_told(dice, tuple(acquisitions), sequence_told),
        told_dose_fraction=torch.where(dose_told > 0, told_dose, DOSE_FRACTION),
        sequence_told=sequence_told,
        dose_told=dose_told,
        # What is left after the pre-dose image was aligned; sometimes it was not. More than that makes a network doubt
        # every edge, where vessels lie.
        shift=dice.log_uniform(0.005, 0.1, 1) * (1 + 3 * dice.chance(0.1, 1)) * dice.normal(2).clamp(-2, 2),
        drift=dice.chance(0.5, 1) * dice.log_uniform(0.02, 0.25, 1) * dice.normal(2).clamp(-2, 2),
        gain=drifts * dice.uniform(0.2, 1.5, 3),
        masked=dice.chance(0.5),
        ghost=dice.chance(0.15, 1) * dice.uniform(0.0, 0.03, 2),
        heads=heads,
    )


def _heads(dice: _Dice) -> tuple[int | None, ...]:
    seeds = torch.randint(2**31, 2**32, (dice.batch,), generator=dice.generator).tolist()  # no cohort's
    chosen = dice.chance(HEADS).tolist()
    return tuple(seed if head else None for seed, head in zip(seeds, chosen, strict=True))


def _acquisitions(dice: _Dice) -> tuple[Acquisition, ...]:
    """Two fifths spin echoes, two fifths gradient echoes, the rest prepared by an inversion, or linear in the dose."""
    kinds, numbers = dice.uniform(0, 1).tolist(), dice.uniform(0, 1, 4).tolist()
    return tuple(_acquisition(kind, *number) for kind, number in zip(kinds, numbers, strict=True))


def _acquisition(kind: float, first: float, second: float, third: float, fourth: float) -> Acquisition:
    if kind < 0.4:
        return Acquisition(PulseSequence.SPIN_ECHO, 0.3 + 0.5 * first, 0.008 + 0.007 * second)
    if kind < 0.8:
        flip = 9 * (40 / 9) ** second
        return Acquisition(PulseSequence.GRADIENT_ECHO, 0.004 + 0.008 * first, 0.0015 + 0.002 * third, flip_angle=flip)
    if kind < 0.87:  # few and round numbers: each curve has a table, which is kept
        return Acquisition(
            PulseSequence.INVERSION_GRADIENT_ECHO,
            repetition_time=(1.7, 2.0, 2.3, 2.5)[int(4 * first)],
            inversion_time=(0.7, 0.8, 0.9, 1.0)[int(4 * second)],
            flip_angle=(8.0, 11.0)[int(2 * third)],
            readout_time=0.007,
        )
    return LINEAR


def _told(dice: _Dice, acquisitions: tuple[Acquisition, ...], told: Tensor) -> tuple[Acquisition, ...]:
    """A quarter of what is told has an echo time, an eighth has a wrong repetition time."""
    echo, wrong = dice.chance(0.25).tolist(), dice.chance(0.12).tolist()
    factor = 1 + (0.15 * dice.normal()).clamp(-0.3, 0.3)
    found = []
    for index, acquisition in enumerate(acquisitions):
        if not told[index]:
            found.append(Acquisition.assumed())
            continue
        if not echo[index]:
            acquisition = replace(acquisition, echo_time=None)
        if wrong[index] and acquisition.inversion_time is None:
            repetition_time = (acquisition.repetition_time or 0.0) * float(factor[index])
            echo_time = acquisition.echo_time and min(acquisition.echo_time, 0.8 * repetition_time)
            acquisition = replace(acquisition, repetition_time=repetition_time, echo_time=echo_time)
        found.append(acquisition)
    return tuple(found)


def draw_images(generator: torch.Generator, parameters: Parameters, size: int) -> Drawn:
    """The images of :func:`draw_parameters`: tissue at random, three acquisitions of it."""
    dice = _Dice(generator, len(parameters.noise))
    tissue = _tissue(dice, size)
    body, images = tissue["body"], _signals(parameters, tissue)
    for row, seed in enumerate(parameters.heads):
        if seed is not None:
            images[row], body[row, 0] = _painted(dice, draw_subject(seed, 0), size)
    return _disturb(dice, parameters, _acquire(dice, parameters, images, body, size), body, size)


def _painted(dice: _Dice, subject: SubjectParameters, size: int) -> tuple[Tensor, Tensor]:
    """A window of a slice through the middle half of an anatomy: three images and its body, (3, H, W) and (H, W)."""
    zoom, height, down, across = torch.rand(4, generator=dice.generator).tolist()
    whole = int(size * (1 + zoom))
    signals, body = painted_slice(subject, 0.2 + 0.6 * height, whole)
    top, left = int(down * (whole - size + 1)), int(across * (whole - size + 1))
    window = slice(top, top + size), slice(left, left + size)
    return torch.from_numpy(signals[(slice(None), *window)]), torch.from_numpy(body[window].astype(np.float32))


# Tissue


def _fields(dice: _Dice, count: int, scale: int, size: int) -> Tensor:
    """Smooth random fields of unit variance, (N, count, size, size), correlated over about `scale` pixels.

    Cubic B-splines with random coefficients, one matrix along each axis: `F.interpolate` took twenty times as long.
    """
    if scale <= 1:
        return dice.normal(count, size, size)
    knots = size // scale + 5
    down, across = (_spline(size, knots, scale, float(o)) for o in torch.rand(2, generator=dice.generator))
    return down @ dice.normal(count, knots, knots) @ across.T


def _spline(size: int, knots: int, scale: int, offset: float) -> Tensor:
    """(size, knots): cubic B-splines `scale` pixels apart, the squares of each row summing to 1 on average."""
    away = (torch.arange(size)[:, None] / scale + offset + 1 - torch.arange(knots)).abs()
    near, far = 2 / 3 - away**2 + away**3 / 2, (2 - away).clamp_min(0) ** 3 / 6
    weights = torch.where(away < 1, near, far)
    return weights / weights.square().sum(1).mean().sqrt()


def _mixed(dice: _Dice, count: int, size: int, per_scale: tuple[int, ...], scales: tuple[int, ...] = SCALES) -> Tensor:
    """Fields of several scales in random order, (N, count, size, size)."""
    fields_ = torch.cat([_fields(dice, n, scale, size) for n, scale in zip(per_scale, scales, strict=True) if n], dim=1)
    return fields_[:, torch.randperm(fields_.shape[1], generator=dice.generator)[:count]]


def _distance(field: Tensor) -> Tensor:
    """About how many pixels away the zero level of a smooth field lies, signed."""
    dx, dy = torch.gradient(field, dim=(-1, -2))
    return field / (dx.square() + dy.square() + 1e-4).sqrt()


def _layer(image: Tensor, cover: Tensor, value: Tensor) -> Tensor:
    """`value` laid over an image with the opacity `cover`."""
    return image + cover * (value - image)


def _tissue(dice: _Dice, size: int) -> dict[str, Tensor]:
    """Maps of T10 in seconds, proton density, and added relaxation rate at full dose in 1/s; all (N, 1, H, W)."""
    n = dice.batch
    # How much takes up agent differs: a brain behind its barrier with a few vessels, or most of a neck.
    activity = dice.chance(0.6, 1, 1, 1) * dice.uniform(0, 1, 1, 1, 1) ** 3
    t10_of, density_of, rate_of = _materials(dice, CLASSES, 0.4 * activity)
    # Regions: the largest of several fields, its border as sharp as a pixel or as soft as a few.
    coarse = _mixed(dice, CLASSES, size, (1, 2, 2, 3, 2)) + dice.uniform(0, 1.2, 1, 1, 1) * dice.normal(CLASSES, 1, 1)
    shares = F.softmax(coarse * dice.log_uniform(3, 40, 1, 1, 1), dim=1)
    log_t10 = (shares * t10_of.log()).sum(1, keepdim=True)
    density = (shares * density_of).sum(1, keepdim=True)
    rate = (shares * rate_of).sum(1, keepdim=True)

    body, depth = _body(dice, size)
    # Layers under the surface of a head, of a skull-stripped one only the innermost.
    t10_of, density_of, rate_of = _materials(dice, 3, 0.5 * activity)
    rate_of = torch.where(dice.chance(0.05 + 0.3 * activity, 3, 1, 1) > 0, dice.log_uniform(0.3, 12, 3, 1, 1), rate_of)
    ragged = _mixed(dice, 3, size, (0, 1, 2, 2, 0))
    edge = torch.zeros(n, 1, 1, 1)
    layered = dice.chance(0.5, 1, 1, 1)
    for k in range(3):
        thickness = dice.log_uniform(0.7, 9, 1, 1, 1)
        cover = layered * torch.sigmoid(2 * (depth - edge)) * torch.sigmoid(2 * (edge + thickness - depth))
        log_t10 = _layer(log_t10, cover, t10_of[:, k : k + 1].log())
        density = _layer(density, cover, density_of[:, k : k + 1])
        broken = torch.sigmoid(5 * (ragged[:, k : k + 1] + dice.uniform(-1.5, 3, 1, 1, 1)))
        rate = _layer(rate, cover, rate_of[:, k : k + 1] * broken)
        edge = edge + thickness

    # Thin sheets and vessels, dark and bright, in patches; ribbons of cortex among them.
    lines = _distance(_mixed(dice, SHEETS, size, (0, 2, 3, 2, 1)))
    for k in range(1, SHEETS, 2):  # as a vessel runs in its sulcus
        beside = lines[:, k - 1 : k] + dice.normal(1, 1, 1)
        lines[:, k : k + 1] = torch.where(dice.chance(0.6, 1, 1, 1) > 0, beside, lines[:, k : k + 1])
    patches = torch.sigmoid(4 * (_mixed(dice, SHEETS, size, (0, 0, 2, 2, 2)) + dice.uniform(-2.6, 0.3, SHEETS, 1, 1)))
    spots = torch.sigmoid(3 * (_fields(dice, 3, 3, size) - dice.uniform(1.6, 3.0, 3, 1, 1)))
    width = dice.log_uniform(0.4, 2.5, SHEETS, 1, 1)
    lines = torch.exp(-((lines / width) ** 2)) * patches * dice.chance(dice.uniform(0.2, 1, 1, 1, 1), SHEETS, 1, 1)
    thin = torch.cat((lines, spots * dice.chance(0.5, 3, 1, 1)), dim=1)
    t10_of, density_of, rate_of = _materials(dice, thin.shape[1], 0.05 + 0.4 * activity)
    vessel = dice.chance(0.5 + 0.2 * activity, thin.shape[1], 1, 1)
    rate_of = torch.where(vessel > 0, dice.log_uniform(0.3, 12, thin.shape[1], 1, 1), rate_of)
    t10_of = torch.where(
        vessel * dice.chance(0.4, thin.shape[1], 1, 1) > 0, t10_of * dice.uniform(1.5, 4, 1, 1, 1), t10_of
    )
    dark = dice.chance(0.4, thin.shape[1], 1, 1) * (1 - vessel) * dice.uniform(0.3, 1.0, thin.shape[1], 1, 1)
    density_of = density_of * (1 - dark)
    for k in range(thin.shape[1]):
        cover = thin[:, k : k + 1]
        log_t10 = _layer(log_t10, cover, t10_of[:, k : k + 1].log())
        density = _layer(density, cover, density_of[:, k : k + 1])
        rate = _layer(rate, cover, rate_of[:, k : k + 1])

    # Lesions and cross-sections of vessels: rough discs, with a rim or without.
    rough = _fields(dice, 1, 6, size) * dice.uniform(0, 0.6, 1, 1, 1)
    t10_of, density_of, rate_of = _materials(dice, LESIONS, 0.5 * activity)
    rate_of = torch.where(
        dice.chance(0.4 + 0.4 * activity, LESIONS, 1, 1) > 0, dice.log_uniform(0.2, 15, LESIONS, 1, 1), rate_of
    )
    radius = dice.log_uniform(0.6, 14, LESIONS, 1, 1)
    center = dice.uniform(0, size, LESIONS, 2)
    stretch = dice.uniform(0.6, 1.6, LESIONS, 1, 1)
    row = torch.arange(size).view(1, 1, -1, 1)
    column = torch.arange(size).view(1, 1, 1, -1)
    away = (
        ((row - center[..., :1, None]) * stretch).square() + ((column - center[..., 1:, None]) / stretch).square()
    ).sqrt() / radius + rough
    inside = torch.sigmoid(2.5 * radius * (1 - away)) * dice.chance(0.15 + 0.4 * activity, LESIONS, 1, 1)
    core = torch.sigmoid(2.5 * radius * (dice.uniform(0.3, 0.8, LESIONS, 1, 1) - away))
    core = core * dice.chance(0.35, LESIONS, 1, 1) * dice.uniform(0.5, 1, LESIONS, 1, 1)
    for k in range(LESIONS):
        cover = inside[:, k : k + 1]
        log_t10 = _layer(log_t10, cover, t10_of[:, k : k + 1].log())
        density = _layer(density, cover, density_of[:, k : k + 1])
        rate = _layer(rate, cover, rate_of[:, k : k + 1] * (1 - core[:, k : k + 1]))

    # Texture, in everything.
    grain = _texture(dice, 3, size)
    amount = dice.uniform(0, 0.08, 3, 1, 1) * dice.chance(0.8, 3, 1, 1)
    amount[:, 2] *= 10
    grain = grain * amount
    # A receive coil's sensitivity belongs to the density.
    sensitivity = torch.exp(_fields(dice, 1, 48, size) * dice.uniform(0, 0.15, 1, 1, 1))
    return {
        "t10": (log_t10 + grain[:, :1]).exp().clamp(0.2, 8),
        "density": density.clamp_min(0) * torch.exp(grain[:, 1:2]) * sensitivity,
        "rate": rate * torch.exp(grain[:, 2:]),
        "body": body,
    }


def _materials(dice: _Dice, count: int, active: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """T10 in seconds, proton density, and rate in 1/s that the full dose adds, of some tissues, (N, count, 1, 1) each.

    A share `active` of them takes up agent.
    """
    shape = (count, 1, 1)
    t10 = dice.log_uniform(0.35, 3, *shape)
    # Tissue at 3 T mostly lies between white matter and tumor.
    t10 = torch.where(dice.chance(0.6, *shape) > 0, dice.uniform(0.7, 2.2, *shape), t10)
    # Water, and blood that flows into the slice or out of it: dark, but not for want of protons.
    t10 = torch.where(dice.chance(0.12, *shape) > 0, dice.uniform(2.5, 6, *shape), t10)
    # Water and T1 go together, in some examinations closely: T1 of 0.8 s at 0.7, of 1.4 s at 0.8, of 4 s at 1.
    water = 0.7 + 0.19 * torch.log(t10 / 0.8)
    bound = dice.chance(0.7, 1, 1, 1)
    free = dice.uniform(0.35, 1, *shape)
    density = bound * (water + 0.05 * dice.normal(*shape)) + (1 - bound) * free
    rate = dice.chance(active, *shape) * dice.log_uniform(0.1, 8, *shape)
    return t10, density.clamp(0.05, 1.1), rate


def _texture(dice: _Dice, count: int, size: int) -> Tensor:
    """Fields of unit variance whose grain is anything from one pixel to a dozen, (N, count, H, W)."""
    layers = [_fields(dice, count, scale, size) for scale in (1, 3, 6, 12)]
    weights = dice.uniform(0, 1, len(layers), count, 1, 1) ** 2
    weights = weights / weights.square().sum(1, keepdim=True).sqrt().clamp_min(1e-6)
    return torch.stack([weights[:, k] * layer for k, layer in enumerate(layers)]).sum(0)


def _body(dice: _Dice, size: int) -> tuple[Tensor, Tensor]:
    """Where there is tissue, 0..1, and the depth under its surface in pixels, (N, 1, H, W) each."""
    shape = (1, 1, 1)
    row = torch.arange(size).view(1, 1, -1, 1) - size / 2
    column = torch.arange(size).view(1, 1, 1, -1) - size / 2
    radius = dice.log_uniform(0.3, 1.6, *shape) * size
    # The window lies anywhere about the body: within, at its edge, seldom beyond.
    reach = dice.uniform(0, 1.15, *shape) ** 0.7 * radius
    angle = dice.uniform(0, 2 * math.pi, *shape)
    stretch = dice.uniform(0.75, 1.33, *shape)
    away = (
        ((row + reach * angle.sin()) * stretch).square() + ((column + reach * angle.cos()) / stretch).square()
    ).sqrt()
    rough = _mixed(dice, 1, size, (0, 0, 1, 0, 0)) * dice.uniform(0, 4, *shape)
    depth = radius - away + rough + _fields(dice, 1, 24, size) * dice.uniform(0, 8, *shape)
    return torch.sigmoid(3 * depth), depth


# Acquisition


def _shares(parameters: Parameters, rates: Tensor) -> Tensor:
    """The signal of R1 as a share of the brightest, each slice by its own curve, (N, K, H, W)."""
    curve = batch_curve(parameters.acquisitions)
    brightest = curve.saturated_rate
    # A curve goes on along its tangent there, where a signal does not.
    return curve.signal(torch.minimum(rates, torch.as_tensor(brightest).to(rates))).clamp_min(0)


def _signals(parameters: Parameters, tissue: dict[str, Tensor]) -> Tensor:
    """Pre-dose, low-dose and high-dose image of tissue at random, free of noise, at any scale, (N, 3, H, W)."""
    r1, rate = 1 / tissue["t10"], tissue["rate"]
    fraction = parameters.dose_fraction.view(-1, 1, 1, 1)
    shares = _shares(parameters, torch.cat((r1, r1 + fraction * rate, r1 + rate), dim=1))
    return tissue["density"] * tissue["body"] * shares


def _acquire(dice: _Dice, parameters: Parameters, images: Tensor, body: Tensor, size: int) -> dict[str, Tensor]:
    """The three images in model scale, with what differs between acquisitions and is neither agent nor noise."""
    fraction = parameters.dose_fraction.view(-1, 1, 1, 1)
    predose, lowdose, highdose = images.split(1, dim=1)
    scale = TARGET / _bright_end(lowdose) * torch.exp(0.15 * dice.normal(1, 1, 1))
    predose, lowdose, highdose = predose * scale, lowdose * scale, highdose * scale
    soft = dice.chance(0.4, 1, 1, 1) * dice.uniform(0.3, 0.9, 1, 1, 1)
    predose, lowdose, highdose = (_blurred(image, soft) for image in (predose, lowdose, highdose))
    # What differs between acquisitions before and after the full dose, and is neither agent nor our noise: receiver
    # gain, coil, motion, the noise of the images that a low dose was made from. The low dose has its share, or, of what
    # darkens, all: no concentration explains it, so nothing says how it grows with the dose.
    gains = parameters.gain
    drift = _fields(dice, 3, 48, size)
    change = highdose * (drift[:, 2:] + dice.normal(1, 1, 1)) * gains[:, 2:, None, None]
    inherent = dice.chance(0.6, 1, 1, 1) * dice.uniform(0, 0.03, 1, 1, 1)
    grain = _blurred(dice.normal(2, size, size), dice.uniform(0.3, 0.8, 1, 1, 1)) * inherent * body
    change = change + _shifted(highdose, parameters.drift) - highdose + grain[:, 1:] - grain[:, :1]
    predose, highdose = predose + grain[:, :1], highdose + grain[:, :1] + change
    darkens = (highdose < predose) * dice.chance(0.25, 1, 1, 1)
    lowdose = torch.where(darkens > 0, highdose, lowdose + grain[:, :1] + fraction * change)
    lowdose = lowdose * (1 + (drift[:, 1:2] + dice.normal(1, 1, 1)) * gains[:, 1:2, None, None])
    predose = predose * (1 + (drift[:, :1] + dice.normal(1, 1, 1)) * gains[:, :1, None, None])
    return {"predose": predose, "lowdose": lowdose, "highdose": highdose.clamp_min(0)}


def _bright_end(lowdose: Tensor) -> Tensor:
    """The 90th percentile of each slice's foreground, (N, 1, 1, 1), from every fourth pixel."""
    values = lowdose[..., ::2, ::2].flatten(1).sort(dim=1).values
    count = values.shape[1]
    threshold = 0.15 * values[:, int(0.995 * count)]
    first = (values <= threshold[:, None]).sum(1)
    index = (first + 0.9 * (count - first)).long().clamp_max(count - 1)
    return values.gather(1, index[:, None]).clamp_min(1e-3).view(-1, 1, 1, 1)


def _blurred(image: Tensor, width: Tensor) -> Tensor:
    """Each slice smoothed by a Gaussian of its own width in pixels, (N, 1, 1, 1), 0 for none; 5 x 5 pixels."""
    offset = torch.arange(-2, 3)
    kernel = torch.exp(-0.5 * (offset / width.view(-1, 1).clamp_min(0.05)) ** 2)
    kernel = kernel / kernel.sum(1, keepdim=True)
    n, channels, height, wide = image.shape
    flat = F.pad(image, (2, 2, 2, 2), mode="reflect").reshape(1, n * channels, height + 4, wide + 4)
    kernel = kernel.repeat_interleave(channels, 0)
    flat = F.conv2d(flat, kernel[:, None, None, :], groups=n * channels)
    flat = F.conv2d(flat, kernel[:, None, :, None], groups=n * channels)
    return flat.view(n, channels, height, wide)


def _disturb(dice: _Dice, parameters: Parameters, clean: dict[str, Tensor], body: Tensor, size: int) -> Drawn:
    """Motion, ghosts, Rician noise and masks."""
    predose, lowdose = _shifted(clean["predose"], parameters.shift), clean["lowdose"]
    strength = parameters.ghost.view(-1, 2, 1, 1)
    ghost = torch.roll(torch.cat((predose, lowdose), 1), size // 2, dims=-1) * strength
    images = torch.cat((predose, lowdose), 1) + ghost
    noise = dice.normal(4, size, size)
    width = parameters.correlated.view(-1, 1, 1, 1)
    smooth = _blurred(noise, width)
    smooth = smooth / smooth.std(dim=(1, 2, 3), keepdim=True) * parameters.noise.view(-1, 1, 1, 1)
    images = torch.hypot(images + smooth[:, :2], smooth[:, 2:])
    inside = body > 0.5
    outside = ~inside & (parameters.masked.view(-1, 1, 1, 1) > 0)
    predose, lowdose = images.masked_fill(outside, 0).split(1, dim=1)
    return Drawn(predose, lowdose, clean["highdose"].masked_fill(outside, 0), inside, parameters)


def _shifted(image: Tensor, shift: Tensor) -> Tensor:
    """Each slice moved by its own (rows, columns) in pixels, less than 1, by linear interpolation of a finer kind."""
    n, _, height, width = image.shape
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0] = theta[:, 1, 1] = 1
    theta[:, 0, 2], theta[:, 1, 2] = -2 * shift[:, 1] / width, -2 * shift[:, 0] / height
    grid = F.affine_grid(theta, [n, 1, height, width], align_corners=False)
    return F.grid_sample(image, grid, mode="bicubic", padding_mode="border", align_corners=False)
