"""The network that every method trains: encoder, trained head, closed-form readouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from avalanche_ham.adapters import AdapterSet, DenseTerms
from avalanche_ham.adapters.linear import check_untouched
from avalanche_ham.backbones.digest import remember_digest
from avalanche_ham.backbones.encoder import Encoding, VitEncoder, prefer_plain_attention
from avalanche_ham.backbones.image_size import set_image_size
from avalanche_ham.backbones.support import check_supported
from avalanche_ham.backbones.vit import create_backbone
from avalanche_ham.errors import HamError, OptionError, check_whole
from avalanche_ham.heads import IncrementalHead, create_readout, split_heads
from avalanche_ham.heads.linear import UNSEEN


class ContinualModel(nn.Module):
    """Encoder and head, with logits of all classes at their true ids.

    In evaluation the readout that ``predictor`` names predicts in the head's place, once it
    has been fed. Further readouts are fed beside it, so that one training serves several.

    Parameters come and go with the tasks; whoever lists them finds each name where it was
    before and new names last, as plugins that keep a value per parameter expect.

    Args:
        encoder: batch -> ``Encoding``; has ``num_features`` and, where only a part of it may be
            adapted and fine-tuned, that part as ``adaptable``.
        head: the trained incremental head.
        readouts: closed-form readouts by name.
        predictor: ``linear`` for the trained head, or the name of a readout.
        heads: names of all whose predictions are asked for; None for predictor and readouts.
    """

    def __init__(
        self,
        encoder: nn.Module,
        head: IncrementalHead,
        readouts: Mapping[str, nn.Module] | None = None,
        predictor: str = "linear",
        heads: Sequence[str] | None = None,
    ) -> None:
        super().__init__()
        self.encoder: Any = encoder
        self.head = head
        self.readouts = nn.ModuleDict(dict(readouts or {}))
        self.predictor = predictor
        self.heads = (predictor, *self.readouts) if heads is None else tuple(heads)
        self.adapters: AdapterSet | None = None
        self.competing: Tensor | None = None  # classes (n_classes,) told in evaluation, None: all
        self._is_checked = False  # whether the encoder was seen to call its adapted layers
        self._places: dict[str, int] = {}  # of the parameters' names, in order of arrival

    @property
    def readout(self) -> nn.Module | None:
        """The readout that predicts, None while the trained head does."""
        return self.readouts[self.predictor] if self.predictor in self.readouts else None  # noqa: SIM401

    @property
    def adaptable(self) -> nn.Module:
        """The network that adapters attach to and fine-tuning trains."""
        return getattr(self.encoder, "adaptable", self.encoder)

    def train(self, mode: bool = True) -> ContinualModel:
        """Set the mode; a frozen batch norm goes on with its stored statistics."""
        super().train(mode)
        for module in self.encoder.modules() if mode else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.train(any(p.requires_grad for p in module.parameters()))
        return self

    def replace_encoder(self, encoder: nn.Module) -> None:
        """Put an encoder around the present one in its place; the user's hooks go with it.

        Raises:
            HamError: if the present one is compiled, which would have no effect any more.
        """
        if self.encoder._compiled_call_impl is not None:
            raise HamError(
                "model: this method puts another encoder in the place of the compiled one; call "
                "model.encoder.compile() after the strategy is made"
            )
        for name, hooks in vars(self.encoder).items():
            if name.startswith(("_forward_", "_backward_", "_is_full_backward_")):
                setattr(encoder, name, hooks)  # shared, so that the user's handles still remove
        self.encoder = encoder

    def attach_adapters(
        self, targets: Sequence[str] = ("attn.qkv",), terms: type = DenseTerms
    ) -> AdapterSet:
        """Adapt the encoder's linear layers whose names end with one of ``targets``.

        Raises:
            HamError: if the model carries adapters already.
            NoMatchError: if a target matches no layer.
        """
        if self.adapters is not None:
            raise HamError("model: it carries adapters already; create a fresh one")
        self.adapters = AdapterSet(self.adaptable, targets, terms)
        return self.adapters

    def encode(self, images: Tensor) -> Encoding:
        """Give features ``(N, d)`` and the encoder's penalty.

        Raises:
            HamError: if the encoder gives anything else, or at first passes by an adapted layer.
        """
        if self.adapters is None or self._is_checked:
            encoding = self.encoder(images)
        else:
            encoding = self._encode_and_check(images, self.adapters)
        if not isinstance(encoding, Encoding):
            kind = type(self.encoder).__name__
            given = type(encoding).__name__
            raise HamError(f"model: the encoder {kind} must give an Encoding, but gave a {given}")
        return encoding

    def _encode_and_check(self, images: Tensor, adapters: AdapterSet) -> Any:
        """Encode, and see that no adapted layer is there for its weight only, without effect."""
        left = set(adapters.layers)
        hooks = [
            layer.register_forward_pre_hook(lambda *_, name=name: left.discard(name))
            for name, layer in adapters.layers.items()
        ]
        try:
            encoding = self.encoder(images)
        finally:
            for hook in hooks:
                hook.remove()
        if left:
            raise HamError(
                f"targets: the network does not call its layer {min(left)} (it may use the "
                "weight alone, as BEiT does), so an adapter there would have no effect"
            )
        self._is_checked = True
        return encoding

    def classify(self, features: Tensor, head: str | None = None) -> Tensor:
        """Map features ``(N, d)`` to logits ``(N, n_classes)`` of ``predictor`` or ``head``."""
        name = head or self.predictor
        if not self.training and name in self.readouts and self.readouts[name].is_fed:
            logits = self.readouts[name](features)
        else:
            logits = self.head(features)
        if self.training or self.competing is None:
            return logits
        return logits.masked_fill(~self.competing, UNSEEN)

    def forward(
        self,
        images: Tensor,
        *,
        penalties: list[Tensor] | None = None,
        features: list[Tensor] | None = None,
    ) -> Tensor:
        """Map images ``(N, C, H, W)`` to logits ``(N, n_classes)``; unseen classes get -1e4.

        Args:
            images: uint8 or float.
            penalties: a list that the encoder's penalty is appended to, if it has one.
            features: a list that what the head sees, ``(N, d)``, is appended to.
        """
        encoding = self.encode(images)
        if features is not None:
            features.append(encoding.features)
        if penalties is not None and encoding.penalty is not None:
            penalties.append(encoding.penalty)
        return self.classify(encoding.features)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, nn.Parameter]]:
        """Yield names and parameters as torch does, in the order in which names arrived."""
        found = dict(super().named_parameters("", recurse, remove_duplicate))
        for name in found:
            self._places.setdefault(name, len(self._places))
        for name in sorted(found, key=self._places.__getitem__):
            yield (f"{prefix}.{name}" if prefix else name), found[name]


def create_model(
    backbone: str | nn.Module = "embedded",
    *,
    n_classes: int,
    head: str = "linear",
    pretrained: bool = True,
    weights: str | Path | None = None,
    image_size: int | None = None,
    readouts: Mapping[str, Mapping[str, Any]] = {},
    seed: int = 0,
) -> ContinualModel:
    """Make a continual model on a frozen backbone.

    A network of your own is not copied, and each model needs one for itself: its weights are
    frozen here (``requires_grad``), its image size is set, without a GPU ``fused_attn`` is
    switched off, and methods adapt or train it in place. Give a ``copy.deepcopy`` to keep yours.

    Args:
        backbone: a name (see ``create_backbone``), a timm ViT of your own, or any encoder: a
            module with ``num_features`` that maps a batch to an ``Encoding``.
        n_classes: number of classes of the whole benchmark, ``benchmark.n_classes``.
        head: who predicts: ``linear`` (the trained head) or a closed-form one of ``HEADS``;
            further names after a comma are measured beside the first, ``"linear,ridge"``.
        pretrained, weights, image_size: see ``create_backbone``; a network of your own has
            its weights, and other encoders than a ViT their image size.
        readouts: options of the readouts, ``{"ridge": {"projections": 5000}}``.
        seed: of random weights and random projections.

    Raises:
        UnknownNameError: if backbone or head are unknown.
        HamError: if the backbone is of a kind that cannot be used, or carries adapters already.
        OptionError: if the patch size does not divide the image size, or it is no encoder, or
            ``n_classes`` is no whole number of at least 1.
    """
    check_whole("n_classes", n_classes, 1, 2**31)
    names = split_heads(head)
    if isinstance(backbone, str):
        backbone = create_backbone(
            backbone, pretrained=pretrained, weights=weights, image_size=image_size, seed=seed
        )
    else:
        if weights is not None:
            raise OptionError("weights", "None for a network of your own", str(weights))
        if isinstance(backbone, nn.Module):  # else it is refused below
            check_untouched("backbone", backbone)
        if isinstance(backbone, VisionTransformer):
            check_supported(backbone)
            remember_digest(backbone)
            set_image_size(backbone, image_size)
    encoder = _frozen_encoder(backbone)
    if encoder is backbone:
        set_image_size(backbone, image_size)  # which it cannot take
    width: Any = encoder.num_features
    made = {
        name: create_readout(name, width, n_classes, seed=seed, **readouts.get(name, {}))
        for name in names
    }
    fed = {name: readout for name, readout in made.items() if readout is not None}
    return ContinualModel(encoder, IncrementalHead(width, n_classes), fed, names[0], names)


def _frozen_encoder(network: Any) -> nn.Module:
    if hasattr(network, "merge_and_unload"):
        raise HamError(
            "backbone: it is a model of peft; give what its merge_and_unload() gives, the network "
            "with the adapter folded in"
        )
    if isinstance(network, VisionTransformer) or type(network).__module__.startswith("timm."):
        encoder = VitEncoder(network)  # or the reason why not
        prefer_plain_attention(network)
        return encoder.requires_grad_(False)
    if not isinstance(getattr(network, "num_features", None), int):
        allowed = "a name, a timm ViT or an encoder with num_features"
        raise OptionError("backbone", allowed, type(network).__name__)
    network.requires_grad_(False)
    return network
