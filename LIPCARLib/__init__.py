"""LIPCAR: simulated high-dose contrast-enhanced images from low-dose ones, by a learned inverse problem."""

import os

# OpenMP reads it when torch is loaded. Threads that wait for others spin otherwise: beside two busy programs on two
# cores, a run took five times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


__version__ = "0.1.0"
