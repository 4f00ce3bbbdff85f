"""Terms added to the training loss."""

from avalanche_ham.penalties.ewc import EWCPenalty
from avalanche_ham.penalties.lwf import LwFPenalty

__all__ = ["PENALTIES", "EWCPenalty", "LwFPenalty"]

PENALTIES = {"ewc": EWCPenalty, "lwf": LwFPenalty}  # as rows of METHODS name them
