"""Frozen weight changes of past tasks, each with a scalar factor (Eq. 2: sum of alpha_G dW_G)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from avalanche_ham.adapters.low_rank import LowRank, dense
from avalanche_ham.adapters.slots import SLOTS


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

    def assign(self, change: LowRank | Tensor, index: int) -> None:
        """Put a change in the place of term ``index``."""
        self.stack = self.stack.clone()  # the old one may be held by a graph
        self.stack[index] = dense(change).detach().to(self.stack)

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
    step costs R = sum of ranks columns, not one pass over the batch per term. Columns of
    ``b`` that fill one third of the rows alone, a slot of a fused qkv, cost a third.
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
        self._widths: list[int] | None = None  # of the slots' columns and of the others

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
        self._widths = None

    def assign(self, change: LowRank | Tensor, index: int) -> None:
        """Put a low-rank change, of whatever rank, in the place of term ``index``.

        Raises:
            TypeError: if the change is dense.
        """
        if not isinstance(change, LowRank):
            raise TypeError("LowRankTerms hold low-rank changes only")
        others = self.owner != index
        self.a, self.b, self.owner = self.a[others], self.b[:, others], self.owner[others]
        self.add(change, index)

    def onto(self, weight: Tensor, coefficients: Tensor) -> Tensor:
        """Compute ``weight + sum_j coefficients_j B_j A_j``, shape ``(o, i)``."""
        if self._widths is None:
            self._widths = self._arrange()
        *slots, other = zip(
            self.b.split(self._widths, dim=1),
            self.a.split(self._widths),
            self.owner.split(self._widths),
            strict=True,
        )
        weight = _onto(weight, *other, coefficients)
        if sum(self._widths) == self._widths[-1]:
            return weight
        height = len(weight) // len(slots)
        blocks = weight.split(height)
        return torch.cat(
            [
                _onto(block, b[k * height : (k + 1) * height], a, owner, coefficients)
                for k, (block, (b, a, owner)) in enumerate(zip(blocks, slots, strict=True))
            ]
        )

    def _arrange(self) -> list[int]:
        """Sort the columns: those of q, of k, of v, then those that fill more rows."""
        if len(self.b) % len(SLOTS):
            return [0] * len(SLOTS) + [len(self.owner)]
        filled = torch.stack([rows.any(0) for rows in self.b.chunk(len(SLOTS))])  # (3, R)
        slot = torch.where(filled.sum(0) > 1, len(SLOTS), filled.int().argmax(0))
        order = slot.argsort(stable=True)
        with torch.inference_mode(False):  # what is kept must also serve training
            order = order.clone()
            self.a, self.b = self.a[order], self.b[:, order]
            self.owner = self.owner[order]
        return slot.bincount(minlength=len(SLOTS) + 1).tolist()

    def term(self, index: int) -> LowRank:
        """Give the un-scaled factors of one term."""
        mine = self.owner == index
        return LowRank(self.a[mine], self.b[:, mine])

    def _load_from_state_dict(self, state: dict, prefix: str, *args: object) -> None:
        for name in ("a", "b", "owner"):
            saved = state.get(prefix + name)
            if saved is not None:
                setattr(self, name, getattr(self, name).new_zeros(saved.shape))
        self._widths = None
        super()._load_from_state_dict(state, prefix, *args)


def _onto(weight: Tensor, b: Tensor, a: Tensor, owner: Tensor, coefficients: Tensor) -> Tensor:
    return torch.addmm(weight, b * coefficients[owner], a) if len(owner) else weight
