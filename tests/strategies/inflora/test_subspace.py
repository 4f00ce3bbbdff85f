"""InfLoRA's maths against slow versions written from the paper's and the release's rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from avalanche_ham.errors import UnknownNameError
from avalanche_ham.strategies.inflora.subspace import (
    SecondMoment,
    Subspace,
    empty_subspace,
    energy_threshold,
    free_basis,
    free_directions,
    input_factor,
    update_subspace,
)

WIDTH = 12


def moment(seed: int, decay: float = 0.6, n: int = 40) -> torch.Tensor:
    """C of inputs whose energy falls from direction to direction of a random basis."""
    generator = torch.Generator().manual_seed(seed)
    basis = torch.linalg.qr(torch.randn(WIDTH, WIDTH, generator=generator, dtype=torch.float64)).Q
    x = torch.randn(n, WIDTH, generator=generator, dtype=torch.float64)
    x = x * decay ** torch.arange(WIDTH, dtype=torch.float64) @ basis.T
    return x.T @ x / n


def space(seed: int, m: int, kind: str = "remove") -> Subspace:
    generator = torch.Generator().manual_seed(seed)
    draw = torch.randn(WIDTH, m, generator=generator, dtype=torch.float64)
    return Subspace(torch.linalg.qr(draw).Q, kind)


def used(memory: Subspace) -> torch.Tensor:
    """The projector onto what old tasks use, whatever the kind."""
    own = memory.basis @ memory.basis.T
    return torch.eye(WIDTH, dtype=torch.float64) - own if memory.kind == "retain" else own


def slow_update(c: np.ndarray, m: np.ndarray | None, kind: str, eps: float):
    """DualGPM step by step, as in InfLoRA, Sec. 3.3, with the release's counting."""
    if m is None:
        u, s, _ = np.linalg.svd(c)
        k = max(1, int(np.sum(np.cumsum(s**2) / np.sum(s**2) < eps)))
        m = u[:, :k]
    else:
        total = np.sum(np.linalg.svd(c)[1] ** 2)
        inside = m @ m.T @ c
        hat = c - inside if kind == "remove" else inside
        u, s, _ = np.linalg.svd(hat)
        rest, k = np.sum(s**2) / total, 0
        for value in s:
            if (1 - rest >= eps) if kind == "remove" else (rest < 1 - eps):
                break
            rest -= value**2 / total
            k += 1
        if kind == "remove":
            m = np.hstack([m, u[:, :k]])
        else:
            without = m - u[:, :k] @ u[:, :k].T @ m
            m = np.linalg.svd(without)[0][:, : m.shape[1] - k]
    if kind == "remove" and m.shape[1] > len(m) / 2:
        return np.linalg.svd(m)[0][:, m.shape[1] :], "retain"
    return m, kind


def test_moment_is_streamed_over_samples_and_tokens():
    x = torch.randn(5, 3, WIDTH)
    streamed, slow = SecondMoment(), torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    for batch in x.split(2):
        streamed.add(batch)
    for image in x.double():
        for token in image:
            slow += torch.outer(token, token) / 15
    torch.testing.assert_close(streamed.result(), slow, rtol=1e-5, atol=1e-6)
    assert streamed.result().dtype == torch.float64
    with pytest.raises(RuntimeError, match="no inputs"):
        SecondMoment().result()


@pytest.mark.parametrize("kind", ["remove", "retain"])
def test_directions_are_the_singular_vectors_of_the_projected_moment(kind):
    c, memory = moment(1), space(2, 5, kind)
    inside = memory.basis @ memory.basis.T @ c
    hat = inside if kind == "retain" else c - inside
    u, s, _ = torch.linalg.svd(hat)
    directions, energies = free_directions(c, memory)
    assert directions.shape == (WIDTH, memory.free)
    torch.testing.assert_close(energies, s[: memory.free].square())
    cosines = (directions * u[:, : memory.free]).sum(0).abs()  # equal up to their sign
    torch.testing.assert_close(cosines, torch.ones_like(cosines))


@pytest.mark.parametrize("kind", ["remove", "retain"])
def test_new_a_is_orthogonal_to_the_memory(kind):
    memory = space(3, 5, kind)
    factor = input_factor(moment(4), memory, 3)
    assert (factor @ used(memory)).abs().max() < 1e-12
    expected = torch.eye(3, dtype=torch.float64) / 3  # rows of norm 1/sqrt(3)
    torch.testing.assert_close(factor @ factor.T, expected)


def test_a_stays_orthogonal_where_the_inputs_have_no_energy():
    memory, x = space(5, 6), torch.zeros(WIDTH, dtype=torch.float64)
    x[0] = 1.0
    factor = input_factor(torch.outer(x, x), memory, 4)
    assert (factor @ memory.basis).abs().max() < 1e-12
    assert (factor.norm(dim=1) > 0.5).all()


@pytest.mark.parametrize("free", [0, 2])
def test_too_little_room_gives_zero_rows(free):
    memory = space(6, free, "retain")
    factor = input_factor(moment(7), memory, 4)
    assert (factor[free:] == 0).all()
    assert int((factor.norm(dim=1) > 0.5).sum()) == free
    assert update_subspace(moment(8), memory, 0.99).free <= free


@pytest.mark.parametrize("decay", [0.5, 0.75, 0.9])
def test_memory_follows_dual_gpm(decay):
    memory, slow, kind, kinds = empty_subspace(WIDTH), None, "remove", set()
    for task in range(8):
        c = moment(10 + task, decay)
        eps = energy_threshold(0.9, 1.0, task, 8)
        memory = update_subspace(c, memory, eps)
        slow, kind = slow_update(c.numpy(), slow, kind, eps)
        assert memory.kind == kind
        assert memory.basis.shape == slow.shape
        own = torch.from_numpy(slow @ slow.T)
        torch.testing.assert_close(memory.basis @ memory.basis.T, own, atol=1e-8, rtol=0)
        kinds.add(kind)
    assert kinds == {"remove", "retain"}  # both were met


def test_free_space_only_shrinks_and_old_directions_stay_protected():
    memory = empty_subspace(WIDTH)
    for task in range(10):
        grown = update_subspace(moment(30 + task), memory, 0.95)
        assert grown.free <= memory.free
        assert grown.basis.shape[1] <= WIDTH / 2
        # what was used is used still: P_new P_old = P_old
        torch.testing.assert_close(used(grown) @ used(memory), used(memory))
        memory = grown


def test_kinds_describe_the_same_memory():
    memory = space(40, 4)
    turned = Subspace(free_basis(memory), "retain")
    torch.testing.assert_close(used(turned), used(memory))
    assert turned.free == memory.free == WIDTH - 4


def test_silent_inputs_use_nothing():
    silent = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    assert update_subspace(silent, empty_subspace(WIDTH), 0.9).free == WIDTH


def test_threshold_grows_linearly_to_its_end():
    values = [energy_threshold(0.95, 1.0, task, 10) for task in (0, 5, 10, 20)]
    assert values == pytest.approx([0.95, 0.975, 1.0, 1.0])


@pytest.mark.parametrize(
    "basis, kind, kept",
    [
        ([], "remove", 1),  # the direction that reaches the threshold stays free, at first
        ([0], "remove", 2),  # later it joins the memory
        ([1, 2, 3, 4], "retain", 2),  # less than 1 - threshold must be left in the free space
    ],
)
def test_a_threshold_that_is_met_exactly(basis, kind, kept):
    c = torch.diag(torch.tensor([2.0, 1, 1, 1, 1], dtype=torch.float64))  # energies 4/8, 1/8 ...
    memory = Subspace(torch.eye(5, dtype=torch.float64)[:, basis], kind)
    found = update_subspace(c, memory, 0.625)
    assert found.kind == kind and found.basis.shape == (5, kept)


def test_unknown_kind_is_an_error():
    with pytest.raises(UnknownNameError, match="remove, retain"):
        free_basis(Subspace(torch.eye(3), "forget"))
