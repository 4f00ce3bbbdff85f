"""Terms added to the training loss."""

from avalanche_ham.penalties.ewc import EWCPenalty
from avalanche_ham.penalties.lwf import LwFPenalty
from avalanche_ham.penalties.orthogonality import orthogonality, overlap

__all__ = ["PENALTIES", "EWCPenalty", "LwFPenalty", "orthogonality", "overlap"]

PENALTIES = {"ewc": EWCPenalty, "lwf": LwFPenalty}  # as rows of METHODS name them
