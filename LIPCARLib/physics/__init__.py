"""What a T1-weighted signal is: sequences, the agent's uptake, and the signal equation through the pre-dose image."""

from .signal_equation import DOSE_FRACTION, equilibrium_signal, signal_equation
from .signal_model import relaxation_rate, spin_echo, spoiled_gradient_echo, tofts_concentration

__all__ = [
    "DOSE_FRACTION",
    "equilibrium_signal",
    "relaxation_rate",
    "signal_equation",
    "spin_echo",
    "spoiled_gradient_echo",
    "tofts_concentration",
]
