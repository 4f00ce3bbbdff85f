"""SD-LoRA's norms, inner products and least squares against explicit matrices."""

from __future__ import annotations

import pytest
import torch
from reference import random_update

from avalanche_ham.adapters import LowRank, LowRankBranch
from avalanche_ham.errors import UnknownNameError
from avalanche_ham.strategies.sd_lora.direction import (
    direction,
    express,
    extended_gram,
    factor_norm,
    inner,
    product_norm,
)


def flat(update) -> torch.Tensor:
    """All entries of an update's products, one long vector."""
    return torch.cat([(c.b.double() @ c.a.double()).flatten() for c in update.values()])


def gram_of(updates) -> torch.Tensor:
    gram = torch.zeros(0, 0, dtype=torch.float64)
    for k, update in enumerate(updates):
        gram = extended_gram(gram, updates[:k], update)
    return gram


def test_the_norm_of_the_product_equals_the_explicit_one():
    for change in random_update(1).values():
        torch.testing.assert_close(product_norm(change), (change.b @ change.a).norm())


def test_the_product_of_norms_is_an_upper_bound():
    for change in random_update(2).values():
        torch.testing.assert_close(factor_norm(change), change.a.norm() * change.b.norm())
        assert factor_norm(change) >= product_norm(change)


@pytest.mark.parametrize("form", ["paper", "code"])
def test_each_slot_is_divided_by_its_own_norm(form):
    torch.manual_seed(0)
    branch = LowRankBranch(6, 18, 3, slots=("q", "v"))
    branch.b.data.normal_()
    change = branch.factors().detached()
    fixed = direction({"qkv": change}, pairs=2, form=form)["qkv"]
    blocks = (change.b @ change.a).split(6), (fixed.b @ fixed.a).split(6)  # q, k, v rows
    for slot, k in ((0, 0), (2, 1)):
        norm = blocks[0][slot].norm()
        if form == "code":
            norm = branch.b[k].norm() * branch.a[3 * k : 3 * k + 3].norm()
        torch.testing.assert_close(blocks[1][slot], (blocks[0][slot] / norm).detach())
    assert (blocks[1][1] == 0).all()


def test_nothing_has_no_direction_and_stays_nothing():
    nothing = LowRank(torch.randn(2, 5), torch.zeros(4, 2))
    fixed = direction({"x": nothing})["x"]
    assert (fixed.b == 0).all()


def test_inner_products_are_those_of_the_dense_changes():
    x, y = random_update(3), random_update(4, rank=2)
    torch.testing.assert_close(inner(x, y), flat(x) @ flat(y))
    updates = [random_update(k) for k in range(3)]
    dense = torch.stack([flat(u) for u in updates])
    torch.testing.assert_close(gram_of(updates), dense @ dense.T)


def test_least_squares_equal_lstsq_on_explicit_matrices():
    updates = [direction(random_update(k)) for k in range(5)]
    coefficients, residual = express(gram_of(updates))
    known = torch.stack([flat(u) for u in updates[:-1]], dim=1)
    solved = torch.linalg.lstsq(known, flat(updates[-1])[:, None])
    torch.testing.assert_close(coefficients, solved.solution[:, 0])
    explicit = (known @ coefficients - flat(updates[-1])).square().sum()
    assert residual == pytest.approx(float(explicit))


def test_a_combination_of_old_directions_leaves_nothing():
    first, second = random_update(6), random_update(7)
    both = {
        n: LowRank(
            torch.cat([first[n].a, second[n].a]),
            torch.cat([2 * first[n].b, -second[n].b], 1),
        )
        for n in first
    }
    coefficients, residual = express(gram_of([first, second, both]))
    torch.testing.assert_close(coefficients, torch.tensor([2.0, -1.0], dtype=torch.float64))
    assert residual < 1e-8


def test_twice_the_same_direction_is_no_trouble():
    one = direction(random_update(8))
    coefficients, residual = express(gram_of([one, one, one]))
    torch.testing.assert_close(coefficients.sum(), torch.tensor(1.0, dtype=torch.float64))
    assert residual < 1e-8


def test_unknown_form_is_an_error():
    with pytest.raises(UnknownNameError, match="code, paper"):
        direction(random_update(9), form="papr")
