"""Whether a result may be relied on: the levels of a verdict, and sentences for the user that bear on it."""

from __future__ import annotations

GREEN, LOOK, STOP = "green", "look here", "do not use"
"""Levels of a verdict (`trust.judge`)."""


class Doubt(str):
    """A notice of which verdicts are made (`trust.judge`).

    Attributes:
        severe: whether a result should not be used because of it; else it should be looked at with it in mind.

    >>> Doubt("The patient moved.", severe=True).severe, Doubt("The patient moved.") == "The patient moved."
    (True, True)
    """

    __slots__ = ("severe",)
    severe: bool

    def __new__(cls, words: str, severe: bool = False) -> Doubt:
        doubt = super().__new__(cls, words)
        doubt.severe = severe
        return doubt
