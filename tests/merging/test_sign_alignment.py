"""PAM's alignment of signs, entry by entry and by its schedule."""

from __future__ import annotations

import pytest
import reference
import torch

from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.merging.sign_alignment import SignAlignment, misaligned, realigned


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(1)
    matrix, known = torch.randn(2, 6, 7, generator=generator, dtype=torch.float64)
    matrix[0, :3], known[1, :3] = 0.0, 0.0
    return matrix, known


def by_loop(matrix, known, share: float, restart: str) -> torch.Tensor:
    """Important: the top share of |M_g|. Misaligned: important and of the other sign."""
    flat = known.flatten().tolist()
    important = reference.keep_top(flat, round(share * len(flat)))
    found = []
    for m, g in zip(matrix.flatten().tolist(), important):
        wrong = (m > 0 and g < 0) or (m < 0 and g > 0)
        found.append((g if restart == "global" else 0.0) if wrong else m)
    return torch.tensor(found, dtype=matrix.dtype).view_as(matrix)


@pytest.mark.parametrize("restart", ["global", "zero"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 1.0])
def test_misaligned_important_entries_start_again(pair, share, restart):
    found = realigned(*pair, share, restart)
    assert torch.equal(found, by_loop(*pair, share, restart))
    assert torch.equal(found, pair[0]) is (share == 0)
    assert not misaligned(found, pair[1], share).any()


def test_zero_agrees_with_any_sign(pair):
    matrix, known = pair
    wrong = misaligned(matrix, known)
    assert not wrong[0, :3].any() and not wrong[1, :3].any() and wrong.any()
    assert not misaligned(matrix, torch.zeros_like(known)).any()


def test_the_smallest_numbers_have_a_sign_too():
    tiny = torch.tensor([1e-30])
    assert misaligned(tiny, -tiny).item()


@pytest.mark.parametrize(
    ("every", "times", "total", "due"),
    [
        (100, 10, 1100, list(range(100, 1100, 100))),
        (100, 10, 5000, list(range(100, 5000, 100))),
        (100, 10, 60, list(range(5, 60, 5))),
        (100, 10, 63, list(range(5, 63, 5))),
        (100, 10, 7, [1, 2, 3, 4, 5, 6]),
        (100, 10, 1, []),
        (2, 10, 60, list(range(2, 60, 2))),
        (100, 3, 60, [15, 30, 45]),
        (100, 1, 60, [30]),
        (25, 1, 60, [25, 50]),
    ],
)
def test_short_tasks_are_aligned_often_enough(every, times, total, due):
    alignment = SignAlignment(every=every, times=times)
    assert [s for s in range(1, total + 1) if alignment.is_due(s, total)] == due


def test_an_alignment_does_what_its_options_say(pair):
    assert torch.equal(SignAlignment()(*pair), realigned(*pair, 0.5, "global"))
    own = SignAlignment(share=0.2, restart="zero")
    assert torch.equal(own(*pair), realigned(*pair, 0.2, "zero"))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"share": 1.1}, OptionError, "align_share must be at least 0 and at most 1"),
        ({"every": 0}, OptionError, "align_every must be at least 1"),
        ({"times": 0}, OptionError, "align_times must be at least 1"),
        ({"restart": "one"}, UnknownNameError, "align_restart must be one of global, zero"),
    ],
)
def test_wrong_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        SignAlignment(**options)
