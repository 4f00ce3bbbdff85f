"""HAM's three sections as Avalanche plugins, and what every method shares."""

from avalanche_ham.plugins.adapter_grouping import AdapterGroupingPlugin
from avalanche_ham.plugins.alpha_balancing import AlphaBalancingPlugin
from avalanche_ham.plugins.final_merging import FinalMergingPlugin
from avalanche_ham.plugins.parameter_changes import ParameterChangesPlugin
from avalanche_ham.plugins.readout import ReadoutPlugin

__all__ = [
    "AdapterGroupingPlugin",
    "AlphaBalancingPlugin",
    "FinalMergingPlugin",
    "ParameterChangesPlugin",
    "ReadoutPlugin",
]
