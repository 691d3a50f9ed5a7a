"""The command line: reads arguments, draws progress, prints; computes nothing."""

from .app import app_for, run

__all__ = ["app_for", "run"]
