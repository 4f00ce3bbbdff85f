"""The tables by the name that follows ``ham table``."""

from __future__ import annotations

from collections.abc import Callable

from avalanche_ham.reporting.ablations import TABLE_6, TABLE_7, TABLE_EXTRA
from avalanche_ham.reporting.compare import table_against, table_compare
from avalanche_ham.reporting.comparison import HEADS_TABLE, METHODS_TABLE, TABLE_1, TABLE_2
from avalanche_ham.reporting.ham_plus import HAM_PLUS, HAM_PLUS_PARTS
from avalanche_ham.reporting.pam import PAM_TABLE
from avalanche_ham.reporting.reported import REPORTED
from avalanche_ham.reporting.setup import Setup
from avalanche_ham.reporting.slao import SLAO_TABLE
from avalanche_ham.reporting.structure import TABLE_3, TABLE_4, TABLE_5
from avalanche_ham.reporting.table import Table

TABLES: dict[str, Table | Callable[[Setup], Table]] = {
    "1": TABLE_1,
    "2": TABLE_2,
    "3": TABLE_3,
    "4": TABLE_4,
    "5": TABLE_5,
    "6": TABLE_6,
    "7": TABLE_7,
    "extra": TABLE_EXTRA,
    "methods": METHODS_TABLE,
    "heads": HEADS_TABLE,
    "pam": PAM_TABLE,
    "slao": SLAO_TABLE,
    "ham_plus": HAM_PLUS,
    "ham_plus_parts": HAM_PLUS_PARTS,
    "reported": REPORTED,
    "against": table_against,
    "compare": table_compare,  # its columns are the two methods that were named
}
