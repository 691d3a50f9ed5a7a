"""What a T1-weighted signal is: acquisitions, sequences, the agent's uptake, and the signal equation by pre-dose image.

Names are loaded at their first use: most need torch; a panel asks about acquisitions before torch is there.
"""

from typing import TYPE_CHECKING

from ..lazy import lazily

if TYPE_CHECKING:
    from .acquisition import Acquisition, PulseSequence
    from .dose import DOSE_FRACTION, headroom, highdose_of, lowdose_of, native_time
    from .sequences import SignalCurve, batch_curve, signal_curve
    from .signal_model import relaxation_rate, spin_echo, spoiled_gradient_echo, tofts_concentration

_HOME = {
    "acquisition": ("Acquisition", "PulseSequence"),
    "dose": ("DOSE_FRACTION", "headroom", "highdose_of", "lowdose_of", "native_time"),
    "sequences": ("SignalCurve", "batch_curve", "signal_curve"),
    "signal_model": ("relaxation_rate", "spin_echo", "spoiled_gradient_echo", "tofts_concentration"),
}

__all__ = [
    "DOSE_FRACTION",
    "Acquisition",
    "PulseSequence",
    "SignalCurve",
    "batch_curve",
    "headroom",
    "highdose_of",
    "lowdose_of",
    "native_time",
    "relaxation_rate",
    "signal_curve",
    "spin_echo",
    "spoiled_gradient_echo",
    "tofts_concentration",
]

__getattr__ = lazily(__name__, _HOME)
