"""LIPCAR: simulated high-dose contrast-enhanced images from low-dose ones, by a learned inverse problem."""

__version__ = "0.1.0"
