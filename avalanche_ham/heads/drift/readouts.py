"""The readouts that follow the drift, each a head of its own name.

Between two tasks the features of old classes move, and their images are gone. ``follow`` takes what
the current task's images show of that move, then ``update`` adds the task's classes:

>>> import torch
>>> from avalanche_ham.heads import create_readout
>>> turn = torch.tensor([[0.0, 1.0], [-1.0, 0.0]])
>>> readout = create_readout("lda_drift", 2, 3, penalty=1e-6)
>>> readout = readout.fit(torch.eye(2), torch.tensor([0, 1]))
>>> task = torch.tensor([[0.6, 0.8], [0.8, -0.6]])
>>> readout = readout.follow(task, task @ turn)
>>> readout.predict(torch.eye(2) @ turn).tolist()
[0, 1]
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from avalanche_ham.heads.drift.moves import KernelShift, MeanShift, Move, RidgeMap
from avalanche_ham.heads.drift.views import check_views
from avalanche_ham.heads.lda import LinearDiscriminant
from avalanche_ham.heads.ncm import NearestClassMean
from avalanche_ham.heads.readout import check_features
from avalanche_ham.precision import back_to


class FollowingDiscriminant(LinearDiscriminant):
    """``LinearDiscriminant`` on features of unit length, whose means and scatter move.

    Keeps C x d + d x d numbers, and the number of images of each class. A prediction is
    ``f / |f| weights + bias`` with the tensors of ``solution``.

    Args:
        in_features: width d of the features.
        n_classes: number C of classes of the whole benchmark.
        move: how the statistics move.
        shrinkage: see ``LinearDiscriminant``.
        views: of ``VIEWS``: copies of a task's images whose features it follows too.
        seed: as every readout takes one; nothing here is random.

    Raises:
        UnknownNameError: if there are no such views.
    """

    follows = True

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        *,
        move: Move,
        shrinkage: float = 0.1,
        views: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__(in_features, n_classes, shrinkage=shrinkage, seed=seed)
        self.move, self.views = move, check_views(views)

    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Take features ``(N, d)`` of classes ``(N,)``, scaled to unit length."""
        super().feed(F.normalize(features.to(self.means), dim=1), targets)

    def forward(self, features: Tensor) -> Tensor:
        """Give scores ``(N, n_classes)``; classes not fed get -1e4."""
        return super().forward(F.normalize(features.to(self.means), dim=1))

    @torch.no_grad()
    def follow(self, before: Tensor, after: Tensor) -> FollowingDiscriminant:
        """Move means and scatter; see ``Readout.follow``."""
        f, g = _unit_pair(before, after, self.in_features)
        if len(f) and self.is_fed:
            known = self.counts > 0
            means, scatter = _exact(self.means[known]), _exact(self.scatter)
            means, moved = self.move(means, scatter, f, g)
            self.means[known] = back_to(means, self.means)
            if moved is not None:
                self.scatter.copy_(back_to(moved, self.scatter))
            self._solved = None
        return self


class FollowingMeans(NearestClassMean):
    """``NearestClassMean`` of features of unit length, whose means move.

    Args:
        in_features: width d of the features.
        n_classes: number C of classes of the whole benchmark.
        move: how the means move.
        views: of ``VIEWS``: copies of a task's images whose features it follows too.
        seed: as every readout takes one; nothing here is random.

    Raises:
        UnknownNameError: if there are no such views.
    """

    follows = True

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        *,
        move: Move,
        views: str = "none",
        seed: int = 0,
    ) -> None:
        super().__init__(in_features, n_classes, seed=seed)
        self.move, self.views = move, check_views(views)

    def feed(self, features: Tensor, targets: Tensor) -> None:
        """Add features ``(N, d)`` of classes ``(N,)``, scaled to unit length, to the means."""
        super().feed(F.normalize(features.to(self.sums), dim=1), targets)

    @torch.no_grad()
    def follow(self, before: Tensor, after: Tensor) -> FollowingMeans:
        """Move the means; see ``Readout.follow``."""
        f, g = _unit_pair(before, after, self.in_features)
        if len(f) and self.is_fed:
            known = self.counts > 0
            counts = _exact(self.counts[known])[:, None]
            means, _ = self.move(_exact(self.sums[known]) / counts, None, f, g)
            self.sums[known] = back_to(means * counts, self.sums)
        return self


def lda_drift(
    in_features: int,
    n_classes: int,
    *,
    penalty: float = 3.0,
    shrinkage: float = 0.1,
    views: str = "none",
    seed: int = 0,
) -> FollowingDiscriminant:
    """Make a discriminant whose statistics move by a ridge map towards the identity.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        penalty: lambda of ``ridge_map``, above 0: the larger, the less moves.
        shrinkage: how much of the covariance is replaced by a round one, in (0, 1].
        views: copies of a task's images that the map is fitted on too, one of ``none`` or
            ``turned`` (by 90 and by 180 degrees, and with the colour channels exchanged: three
            more passes over the images before the task and after it).
        seed: as every readout takes one; nothing here is random.
    """
    move = RidgeMap(penalty)
    return FollowingDiscriminant(
        in_features, n_classes, move=move, shrinkage=shrinkage, views=views, seed=seed
    )


def ncm_drift(
    in_features: int, n_classes: int, *, penalty: float = 3.0, views: str = "none", seed: int = 0
) -> FollowingMeans:
    """Make class means that move by a ridge map towards the identity.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        penalty: lambda of ``ridge_map``, above 0: the larger, the less moves.
        views: copies of a task's images that the map is fitted on too, one of ``none`` or
            ``turned`` (by 90 and by 180 degrees, and with the colour channels exchanged: three
            more passes over the images before the task and after it).
        seed: as every readout takes one; nothing here is random.
    """
    return FollowingMeans(in_features, n_classes, move=RidgeMap(penalty), views=views, seed=seed)


def lda_shift(
    in_features: int, n_classes: int, *, shrinkage: float = 0.1, seed: int = 0
) -> FollowingDiscriminant:
    """Make a discriminant whose means all move by the mean drift of the task's images.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        shrinkage: how much of the covariance is replaced by a round one, in (0, 1].
        seed: as every readout takes one; nothing here is random.
    """
    move = MeanShift()
    return FollowingDiscriminant(in_features, n_classes, move=move, shrinkage=shrinkage, seed=seed)


def lda_sdc(
    in_features: int,
    n_classes: int,
    *,
    bandwidth: float = 0.3,
    shrinkage: float = 0.1,
    seed: int = 0,
) -> FollowingDiscriminant:
    """Make a discriminant whose means move by the drift of the images near them, as SDC's.

    Args:
        in_features: width d of the features.
        n_classes: number of classes of the whole benchmark.
        bandwidth: of SDC's kernel, above 0.
        shrinkage: how much of the covariance is replaced by a round one, in (0, 1].
        seed: as every readout takes one; nothing here is random.
    """
    move = KernelShift(bandwidth)
    return FollowingDiscriminant(in_features, n_classes, move=move, shrinkage=shrinkage, seed=seed)


def _exact(tensor: Tensor) -> Tensor:
    """Give statistics in float64 on the CPU, where a small system is solved once a task."""
    return tensor.to("cpu").double()


def _unit_pair(before: Tensor, after: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """Scale both to unit length, exactly; refuse what are not features of the same images."""
    check_features("before", before, (None, width))
    check_features("after", after, (len(before), width))
    return F.normalize(_exact(before), dim=1), F.normalize(_exact(after), dim=1)
