"""A linear layer that carries frozen scaled terms, one trainable branch, or merged weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from avalanche_ham.adapters.branch import is_foldable
from avalanche_ham.adapters.terms import DenseTerms, LowRankTerms
from avalanche_ham.errors import HamError, NoMatchError


class ScalarOwner(Protocol):
    """Whose scalars the layers of one network look up: its ``AdapterSet``."""

    scales: nn.Parameter

    @property
    def n_terms(self) -> int:
        """Number of frozen terms."""


class FoldedLinear(torch.autograd.Function):
    """``y = (W + B A) x + bias``: one product with the built weight; no gradient for W and bias.

    With ``g = dL/dy``: ``dL/dA = (g B)^T x`` and ``dL/dB = g^T (x A^T)``, so that the gradient of
    the whole weight, an eighth of a frozen block's step for qkv, is never built.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, a: Tensor, b: Tensor
    ) -> Tensor:
        """Map ``(..., i)`` to ``(..., o)`` with factors ``a (r, i)`` and ``b (o, r)``."""
        built = torch.addmm(weight, b, a)
        ctx.save_for_backward(x, built, a, b)
        return F.linear(x, built, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Give the gradients of x, A and B."""
        x, built, a, b = ctx.saved_tensors
        (grad,) = grads
        needs_x, _, _, needs_a, needs_b = ctx.needs_input_grad
        rows, inputs = grad.flatten(0, -2), x.flatten(0, -2)
        return (
            grad @ built if needs_x else None,
            None,
            None,
            (rows @ b).T @ inputs if needs_a else None,
            rows.T @ (inputs @ a.T) if needs_b else None,
        )


class AdaptedLinear(nn.Linear):
    """``h = W0 x + sum_j alpha_j dW_j x + alpha_t B_t A_t x + bias`` (Sec. 3.2.1, Eq. 2).

    The weight is built once per forward and used for the whole batch, so a step costs the
    same at task 2 and at task 100. While the alphas of terms train, all gradients come from one
    dL/dW; else those of A and B come from products of rank r (``FoldedLinear``). It is a subclass
    of ``nn.Linear``: the state-dict keys of the model it sits in stay.

    The scalars belong to the ``AdapterSet``; the layer only looks them up.
    """

    def __init__(self, base: nn.Linear, owner: ScalarOwner, terms: type) -> None:
        bias = base.bias is not None
        super().__init__(base.in_features, base.out_features, bias, device="meta")
        self.weight, self.bias = base.weight, base.bias
        self.terms: DenseTerms | LowRankTerms = terms(base.weight.detach())
        self.branch: Any = None  # whatever a ``BranchMaker`` makes
        self.merged: Tensor | None = None  # W0 + dW_merged (Eq. 8), while evaluating
        self.fixed: Tensor | None = None  # W0 + terms, while the scalars do not train
        self._owner = (owner,)  # a tuple hides it from the module tree (no cycle)

    def combined(self, *, with_branch: bool) -> Tensor:
        """Build ``W0 + terms (+ alpha_t B A)``, shape ``(o, i)``, in the weight's own dtype."""
        weight = self.fixed if self.fixed is not None else self._with_terms(self.weight)
        return self._with_branch(weight) if with_branch else weight

    @torch.no_grad()
    def fix(self) -> None:
        """Sum ``W0`` and the terms once, for as long as the scalars do not train."""
        self.fixed = None
        self.fixed = self.combined(with_branch=False)

    def change(self, *, with_branch: bool) -> Tensor:
        """Build ``combined`` less W0, without the rounding of a sum with W0."""
        change = self._with_terms(torch.zeros_like(self.weight))
        return self._with_branch(change) if with_branch else change

    def _with_terms(self, weight: Tensor) -> Tensor:
        owner = self._owner[0]
        if not owner.n_terms:
            return weight
        return self.terms.onto(weight, owner.scales[: owner.n_terms])

    def _with_branch(self, weight: Tensor) -> Tensor:
        a, b = self.branch.factors()
        return torch.addmm(weight, self._owner[0].scales[-1] * b, a)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> AdaptedLinear:
        """Take along what is neither parameter nor buffer when the model moves."""
        super()._apply(fn, recurse)
        self.merged = None if self.merged is None else fn(self.merged)
        self.fixed = None if self.fixed is None else fn(self.fixed)
        return self

    def _trains_branch_alone(self) -> bool:
        """Whether nothing but the branch needs a gradient."""
        frozen = not any(p.requires_grad for p in (self.weight, self.bias) if p is not None)
        return frozen and (self.fixed is not None or not self._owner[0].n_terms)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``(..., i)`` to ``(..., o)``."""
        if self.merged is not None:
            return F.linear(x, self.merged, self.bias)
        device = x.device.type
        # bf16 swallows a small update that is added to a large weight, so under autocast
        # the branch runs beside the weight; otherwise folding it in is cheaper. A branch
        # without a weight, such as a router, always runs beside it.
        fold = (
            self.branch is not None
            and is_foldable(self.branch)
            and not torch.is_autocast_enabled(device)
        )
        if fold and self._trains_branch_alone():
            a, b = self.branch.factors()
            weight = self.combined(with_branch=False)
            return FoldedLinear.apply(x, weight, self.bias, a, self._owner[0].scales[-1] * b)
        with torch.autocast(device, enabled=False):  # products of factors stay exact
            weight = self.combined(with_branch=bool(fold))
        y = F.linear(x, weight, self.bias)
        if self.branch is not None and not fold:
            y = y + self._owner[0].scales[-1] * self.branch(x)
        return y


def check_untouched(name: str, network: nn.Module) -> None:
    """Refuse a network that carries adapters already: two owners would train each other's layers.

    Raises:
        HamError: naming the argument and what to give in its place.
    """
    if any(isinstance(module, AdaptedLinear) for module in network.modules()):
        raise HamError(
            f"{name}: the network carries the adapters of another model already; give each "
            "model a copy.deepcopy of the untouched network"
        )


def matching(model: nn.Module, targets: Sequence[str]) -> list[str]:
    """List the linear layers whose names end with one of ``targets``, in the network's order.

    Raises:
        NoMatchError: if a target matches none.
    """
    names = [name for name, m in model.named_modules() if isinstance(m, nn.Linear)]
    found = {t: [n for n in names if f".{n}".endswith(f".{t}")] for t in targets}
    for target, matched in found.items():
        if not matched:
            raise NoMatchError(f"targets: no linear layer's name ends with {target!r}")
    return [name for name in names if any(name in matched for matched in found.values())]
