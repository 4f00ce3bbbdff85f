"""Terms added to the training loss."""

from avalanche_ham.penalties.contrastive import supervised_contrastive
from avalanche_ham.penalties.ewc import EWCPenalty
from avalanche_ham.penalties.lwf import LwFPenalty
from avalanche_ham.penalties.orthogonality import orthogonality, overlap
from avalanche_ham.penalties.replay import ReplayPenalty

__all__ = [
    "PENALTIES",
    "EWCPenalty",
    "LwFPenalty",
    "ReplayPenalty",
    "orthogonality",
    "overlap",
    "supervised_contrastive",
]

# as rows of METHODS name them
PENALTIES = {"ewc": EWCPenalty, "lwf": LwFPenalty, "er": ReplayPenalty}
