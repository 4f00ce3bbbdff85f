"""HAM, Hierarchical Adapters Merging: Sec. 3 of the paper, in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor

from avalanche_ham.adapters import AdapterSet, Update, dense
from avalanche_ham.backbones.model import ContinualModel
from avalanche_ham.errors import check_range
from avalanche_ham.merging import Linear, MergeRule, UpdateMerger, merge
from avalanche_ham.merging.rule import check_weights_rule
from avalanche_ham.penalties import supervised_contrastive
from avalanche_ham.plugins.adapter_grouping import AdapterGroupingPlugin
from avalanche_ham.plugins.alpha_balancing import AlphaBalancingPlugin
from avalanche_ham.strategies._base import ContinualStrategy


def merge_groups(
    adapters: AdapterSet,
    grouping: AdapterGroupingPlugin,
    *,
    merge_rule: MergeRule = Linear(),
    space: str = "delta",
    weights_rule: str = "one",
) -> Update | None:
    """Merge the groups, each scaled by its alpha, into one update (Sec. 3.3, Eq. 7).

    An open adapter counts as one more, un-pruned group, so this can be asked at any time.

    Args:
        adapters: holds the groups' terms and alphas.
        grouping: holds the groups' factors (for ``space="factors"``).
        merge_rule: linear, TIES, DARE or maximum magnitude.
        space: ``delta`` merges the scaled products alpha B A, ``factors`` merges A and B apart
            with the alphas as weights (as peft).
        weights_rule: weight of each scaled group, ``one`` (1) or ``mean`` (1/G).

    Returns:
        The update, or None while there is nothing to merge.
    """
    count = adapters.n_terms
    if space == "delta":
        updates: list[Update] = [adapters.term(j) for j in range(count)]
    else:
        updates = [grouping.factors(j) for j in range(count)]
    if adapters.is_open:
        updates.append(adapters.current())
    if not updates:
        return None
    alphas: list[float] | None = adapters.scales.tolist()
    if space == "delta":  # as peft, TIES lets factors vote before they are weighted
        scaled = zip(updates, adapters.scales.detach(), strict=True)
        updates = [{n: alpha * dense(c) for n, c in u.items()} for u, alpha in scaled]
        alphas = None
    return merge(
        updates,
        merge_rule,
        weights=alphas,
        normalise=weights_rule,
        space=space,
        slots=grouping.slots,
    )


class HAMStrategy(ContinualStrategy):
    """Train an adapter per experience, group the adapters, evaluate one merged model.

    For each experience::

        3.2.1  AlphaBalancingPlugin    open (A_t, B_t, alpha_t); train them and every alpha_G
        3.2.2  AdapterGroupingPlugin   similarity -> group -> prune -> concatenate -> mean alpha
        3.3    FinalMergingPlugin      W0 + merge of the groups, whenever evaluation asks

    Args:
        model: from ``create_model``; its adapters are attached here.
        rank: rank r of each adapter, at least 1.
        targets: name suffixes of the adapted linear layers.
        slots: parts of a fused qkv with factors of their own, such as ``("q", "v")``; the last
            of them is then the last adapted layer, where adapters are compared (Eq. 3).
        keep: fraction of entries kept by pruning, in (0, 1].
        max_groups: largest number of groups, at least 1.
        similarity_threshold: smallest cosine that joins a group, at least -1; above 1 opens
            groups while there may be more.
        alpha: start of each alpha_t.
        alpha_lr: learning rate of the alphas, at least 0; None takes the optimiser's.
        train_alphas: False keeps every alpha at its start.
        merge_rule: how groups merge (Eq. 7).
        space: what merges, one of ``delta`` (the scaled products B A) or ``factors`` (A and B
            apart, as peft).
        weights_rule: weight of each scaled group, one of ``one`` (1) or ``mean`` (1/G).
        assignment: how groups are chosen, one of ``similarity`` (Sec. 3.2.2),
            ``opened_similarity``, ``orthogonality`` or ``none``.
        within: how a group's members combine, one of ``concatenate`` (Eq. 6), ``linear`` or
            ``ties``.
        assign: similarities ``(G,)`` -> group or None for a new one, instead of ``assignment``.
        keep_unpruned: store the adapters before pruning too.
        damping: weight with which an adapter joins its group, the first one always whole: a
            number in (0, 1], where 1 is the paper's method, or one of ``sqrt`` (1 / root of t)
            or ``inverse`` (1/t) in task t. It is trained whole, and shrunk when it is merged.
        contrast: weight, at least 0, of the supervised contrastive loss of a batch's features
            (Khosla et al. 2020, https://arxiv.org/abs/2004.11362), which is added to the
            cross-entropy; 0 is the paper's method.
        kwargs: of ``ContinualStrategy``.

    Raises:
        OptionError, UnknownNameError, NoMatchError: if an argument does not fit.
    """

    def __init__(
        self,
        *,
        model: ContinualModel,
        rank: int = 16,
        targets: Sequence[str] = ("attn.qkv",),
        slots: Sequence[str] | None = None,
        keep: float = 0.6,
        max_groups: int = 2,
        similarity_threshold: float = 0.5,
        alpha: float = 1.0,
        alpha_lr: float | None = None,
        train_alphas: bool = True,
        merge_rule: MergeRule = Linear(),
        space: str = "delta",
        weights_rule: str = "one",
        assignment: str = "similarity",
        within: str = "concatenate",
        assign: Callable[[Tensor], int | None] | None = None,
        keep_unpruned: bool = False,
        damping: float | str = 1.0,
        contrast: float = 0.0,
        **kwargs: Any,
    ) -> None:
        check_range("contrast", contrast, 0.0, high=float("inf"), open_high=True)
        check_weights_rule(weights_rule)
        UpdateMerger(merge_rule, space=space)  # says now if the space is unknown
        adapters = model.attach_adapters(targets)
        self.balancing = AlphaBalancingPlugin(
            adapters,
            rank=rank,
            slots=slots,
            alpha=alpha,
            alpha_lr=alpha_lr,
            train_alphas=train_alphas,
        )
        self.grouping = AdapterGroupingPlugin(
            adapters,
            threshold=similarity_threshold,
            max_groups=max_groups,
            keep=keep,
            assignment=assignment,
            within=within,
            assign=assign,
            slots=slots,
            keep_unpruned=keep_unpruned,
            damping=damping,
        )
        self.merge_rule, self.space, self.weights_rule = merge_rule, space, weights_rule
        super().__init__(model=model, **kwargs)
        self.alpha_lr, self.contrast = alpha_lr, contrast
        self.memory = {"balancing": self.balancing.memory, "grouping": self.grouping.memory}

    def own_plugins(self) -> list[Any]:
        """Sec. 3.2.1 before Sec. 3.2.2: the alphas are logged before the adapter closes."""
        return [self.balancing, self.grouping]

    def penalty(self) -> Tensor | None:
        """Spread the classes of the batch, if asked to."""
        if not self.contrast:
            return None
        return self.contrast * supervised_contrastive(self._features[-1], self.mb_y)

    def inference_update(self) -> Update | None:
        """Merge the groups as they are now (Eq. 7)."""
        return merge_groups(
            self.adapters,
            self.grouping,
            merge_rule=self.merge_rule,
            space=self.space,
            weights_rule=self.weights_rule,
        )

    def describe(self) -> Any:
        """Give each task's group and similarities, and the alphas over time."""
        grouping = self.grouping.memory
        return {
            "members": grouping["groups"],
            "similarities": grouping["similarities"],
            "group_alphas": grouping["alphas"],
            "alphas": self.balancing.memory["alphas"],
        }

    def refresh(self) -> None:
        """Rebuild the groups from the stored adapters."""
        self.balancing.memory = self.memory["balancing"]
        self.grouping.memory = self.memory["grouping"]
        self.grouping.rebuild()
