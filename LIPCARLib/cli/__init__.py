"""The command line: reads arguments, draws progress, prints; computes nothing."""

from .app import run

__all__ = ["run"]
