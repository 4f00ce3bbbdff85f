"""Frozen weight changes of past tasks, each with a scalar factor (Eq. 2: sum of alpha_G dW_G)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avalanche_ham.adapters.low_rank import LowRank, dense


class DenseTerms(nn.Module):
    """G frozen changes as one stack ``(G, o, i)``: cost and memory grow with G alone.

    The right choice while there are few terms of high rank, such as HAM's groups.
    """

    stack: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        self.register_buffer("stack", like.new_zeros(0, *like.shape))

    def __len__(self) -> int:
        return self.stack.shape[0]

    def add(self, change: LowRank | Tensor, index: int) -> None:
        """Add a change onto term ``index``, or as a new term if there are ``index`` terms."""
        delta = dense(change).detach().to(self.stack)
        if index == len(self):
            self.stack = torch.cat([self.stack, delta[None]])
        else:
            self.stack = self.stack.clone()  # the old one may be held by a graph
            self.stack[index] += delta

    def onto(self, weight: Tensor, coefficients: Tensor) -> Tensor:
        """Compute ``weight + sum_j coefficients_j D_j``, shape ``(o, i)``, in one pass."""
        flat = self.stack.flatten(1)
        return torch.addmv(weight.flatten(), flat.T, coefficients).view_as(weight)

    def term(self, index: int) -> Tensor:
        """Give the un-scaled change of one term, ``(o, i)``."""
        return self.stack[index]

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        saved = state.get(prefix + "stack")
        if saved is not None:
            self.stack = self.stack.new_zeros(saved.shape)
        super()._load_from_state_dict(state, prefix, *args)


class LowRankTerms(nn.Module):
    """Frozen changes as stacked factors: ``a (R, i)``, ``b (o, R)``, ``owner (R,)``.

    The right choice for many terms that each keep a scalar of their own (SD-LoRA). The
    step costs R = sum of ranks columns, not one pass over the batch per term.
    """

    a: Tensor
    b: Tensor
    owner: Tensor

    def __init__(self, like: Tensor) -> None:
        super().__init__()
        out_features, in_features = like.shape
        self.register_buffer("a", like.new_zeros(0, in_features))
        self.register_buffer("b", like.new_zeros(out_features, 0))
        empty = torch.zeros(0, dtype=torch.long, device=like.device)
        self.register_buffer("owner", empty)

    def add(self, change: LowRank | Tensor, index: int) -> None:
        """Add a low-rank change to term ``index``, new or not; of rank 0 it changes nothing.

        Raises:
            TypeError: if the change is dense.
        """
        if not isinstance(change, LowRank):
            raise TypeError("LowRankTerms hold low-rank changes only")
        self.a = torch.cat([self.a, change.a.detach().to(self.a)])
        self.b = torch.cat([self.b, change.b.detach().to(self.b)], dim=1)
        self.owner = torch.cat([self.owner, self.owner.new_full((change.rank,), index)])

    def onto(self, weight: Tensor, coefficients: Tensor) -> Tensor:
        """Compute ``weight + sum_j coefficients_j B_j A_j``, shape ``(o, i)``."""
        return torch.addmm(weight, self.b * coefficients[self.owner], self.a)

    def term(self, index: int) -> LowRank:
        """Give the un-scaled factors of one term."""
        mine = self.owner == index
        return LowRank(self.a[mine], self.b[:, mine])

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        for name in ("a", "b", "owner"):
            saved = state.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        super()._load_from_state_dict(state, prefix, *args)
