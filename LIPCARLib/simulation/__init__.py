"""Examinations with a known truth: anatomy, random shapes, and the images that a scanner would make of them."""

from .cells import CellSession, cell_session
from .phantom import simulate
from .subject import Anatomy
from .tissues import BRAIN_TISSUES, Tissue

__all__ = ["BRAIN_TISSUES", "Anatomy", "CellSession", "Tissue", "cell_session", "simulate"]
