"""Put faults into every command and say what became of them: the numbers of RELIABILITY.md.

python experiments/reliability.py                 # all of it, half an hour on one core
python experiments/reliability.py --share 0.05    # a sample
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import torch
from faults import campaigns
from faults.campaigns import Outcome
from faults.odd_input import commands

from avalanche_ham.cli.main import main as ham

NUMBERS = {"kills": 300, "errors": 210, "flips": 10_000, "inputs": 250}
WORDS = {
    "kills": "kill -9 at a random call or moment, then the same command again",
    "errors": "a call that fails (ENOSPC, EIO, EMFILE, EINTR), then the same command again",
    "flips": "one bit of a state or a cache flipped, then read",
    "inputs": "odd input: exit code 2, one line, nothing written",
}
WRONG = {
    "kills": "lost or different",
    "errors": "no line, lost or different",
    "flips": "read without a word",
    "inputs": "anything else",
}


def inputs(folder: Path, number: int) -> Iterator[Outcome]:
    """Give odd input to the commands."""
    given = list(commands(folder))
    for words in given[:: max(1, len(given) // number)]:
        out, records = folder.with_name("out"), folder.with_name("records")
        line = [{"OUT": str(out), "RECORDS": str(records)}.get(word, word) for word in words]
        if line[0] == "run" and "--resume" not in line:
            line += ["--out", str(out)]
        printed, said = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
            try:
                code: object = ham(line)
            except Exception as error:
                code = f"{type(error).__name__}: {error}"
        one = said.getvalue().startswith("ham: ") and said.getvalue().count("\n") == 1
        fine = code == 2 and one and not printed.getvalue() and not out.exists()
        fine = fine and not records.exists()
        yield Outcome(words, True, "" if fine else f"{code}, {said.getvalue()[:200]!r}")


def campaign(name: str, start: Path, folder: Path, number: int, seed: int) -> Iterator[Outcome]:
    """Run one of ``NUMBERS``."""
    folder.mkdir()
    if name == "inputs":
        return inputs(folder, number)
    return getattr(campaigns, name)(start, folder, number, seed)


def report(name: str, outcomes: list[Outcome], seconds: float) -> str:
    """Give a row of the table."""
    wrong = [outcome for outcome in outcomes if outcome.why]
    injected = sum(outcome.injected for outcome in outcomes)
    row = f"{WORDS[name]} | {len(outcomes)} | {injected} | {WRONG[name]}: **{len(wrong)}**"
    return f"| {row} | {seconds / 60:.0f} min |"


def main(words: list[str] | None = None) -> int:
    """Run the campaigns; gives 1 if anything went wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("campaigns", nargs="*", default=list(NUMBERS), metavar="CAMPAIGN")
    parser.add_argument("--share", type=float, default=1.0, help="of each campaign's number")
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args(words)
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    failed = False
    print("| fault | put | happened | of them | time |\n|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["AVALANCHE_HAM_CACHE"] = str(Path(temporary, "cache"))
        start = campaigns.prepared(Path(temporary, "prepared"))
        for name in chosen.campaigns:
            begun, number = time.monotonic(), max(1, round(NUMBERS[name] * chosen.share))
            outcomes = list(campaign(name, start, Path(temporary, name), number, chosen.seed))
            print(report(name, outcomes, time.monotonic() - begun), flush=True)
            for outcome in outcomes:
                if outcome.why:
                    failed = True
                    print(f"  {outcome.fault}: {outcome.why}", flush=True)
            if name in ("kills", "errors"):
                kinds = Counter(o.fault.name for o in outcomes)
                print(f"  {dict(kinds)}", flush=True)
    return int(failed)


if __name__ == "__main__":
    raise SystemExit(main())
