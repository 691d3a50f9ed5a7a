"""Examinations with a known truth: anatomy, random shapes, and the images that a scanner would make of them."""

from .cells import CellSession, cell_session
from .lesions import Kind, Lesion, Scene, acquired, cell_scene, head_scene, image_scene, place_lesions, with_lesions
from .phantom import simulate
from .subject import Anatomy
from .tissues import BRAIN_TISSUES, Tissue

__all__ = [
    "BRAIN_TISSUES",
    "Anatomy",
    "CellSession",
    "Kind",
    "Lesion",
    "Scene",
    "Tissue",
    "acquired",
    "cell_scene",
    "cell_session",
    "head_scene",
    "image_scene",
    "place_lesions",
    "simulate",
    "with_lesions",
]
