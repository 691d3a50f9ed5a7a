"""Examinations with a known truth: anatomy, random shapes, and the images that a scanner would make of them."""

from .anatomy import BRAIN_TISSUES, Tissue
from .phantom import Anatomy, simulate

__all__ = ["BRAIN_TISSUES", "Anatomy", "Tissue", "simulate"]
