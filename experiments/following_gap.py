"""What is left between a head that follows the drift and one that sees every image again.

Command: python following_gap.py --data-root DATA --weights FILE --tasks 50 --out FOLDER

Trains HAM+ once (CIFAR-100, preset study, seed 1, a fifth of each class's training images held out)
and keeps features in FOLDER, those of each task's images and of what can be made of them before and
after the task (``VIEWS``). Every row of the table is then a head fed from these features task by
task, AA (%) on the held-out images, without another training; the last column is the gain of its
best penalty on the plain map's best, with its standard error (paired over images). Each setting has
a folder of its own, which is used again once it is whole; a killed training starts anew. The rows
"old images" have what no method here has, some images of every old class: they tell how much of the
gap is the map's form, and how much the images that it is fitted on. ``--foreign tiny_imagenet``
adds images of another data set, without their classes.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader

from avalanche_ham.benchmarks import create_benchmark
from avalanche_ham.heads import Readout, create_readout
from avalanche_ham.heads.drift import FollowingDiscriminant, RidgeMap, ridge_map
from avalanche_ham.runs.config import Resources, RunConfig, resolve_config
from avalanche_ham.runs.presets import PRESETS
from avalanche_ham.runs.run import Run
from avalanche_ham.seeding import preserved
from avalanche_ham.strategies._augment import flip_crop

HELD_OUT = {"holdout": 0.2, "test_per_class": 20}
VIEWS = {  # of which images the map sees features -> how a table says it
    "plain": "as they are",
    "moved": "and 4 times mirrored and moved",
    "turned": "and by 90 and 180 degrees, and with other colours",
    "toward": "and pushed towards old class means",
    "leaves": "and 1,600 made-up images of overlapping discs",
    "foreign": "and 1,600 images of another data set",
    "old": "old images, 16 a class",
}
OLD = 16  # images a class that the oracle keeps
LEAVES, DISCS = 1600, 150  # made-up images, and the discs in each
FOREIGN = {"tiny_imagenet": 8}  # another data set -> its images a class
PENALTIES = (0.3, 1.0, 3.0, 10.0)
NEAR, STEPS, LENGTH = 4, 4, 3.0  # images a class mean, gradient steps, length of one in pixel units
PLAIN = f"follows, {VIEWS['plain']}"
Pair = tuple[Tensor, Tensor]
Task = dict[str, Any]  # targets; before, after: name of a view -> features (n, d)


class Lab:
    """A run whose images are looked at before and after each task.

    Args:
        run: just made.
        foreign: images of another data set, ``(N, C, H, W)``, if the map may see some.
    """

    def __init__(self, run: Run, foreign: Tensor | None = None) -> None:
        self.run, self.model = run, run.strategy.model
        self.kept: list[Tensor] = []  # the oracle's
        self.fixed = {"leaves": self.model.encoder.preprocess(dead_leaves(LEAVES))}
        if foreign is not None:
            self.fixed["foreign"] = self.model.encoder.preprocess(foreign)
        self.means = FollowingDiscriminant(  # what the images are pushed towards
            self.model.encoder.num_features, run.benchmark.n_classes, move=RidgeMap(10.0)
        )

    def images(self, experience: Any) -> Pair:
        """Give what the encoder takes ``(n, C, S, S)``, and class ids."""
        batches = list(DataLoader(experience.dataset.eval(), 64))
        shown = [self.model.encoder.preprocess(batch[0]) for batch in batches]
        return torch.cat(shown), torch.cat([batch[1] for batch in batches])

    def features(self, images: Tensor) -> Tensor:
        """Give features ``(n, d)`` under the weights that evaluation uses."""
        self.model.eval()
        with torch.no_grad(), self.run.strategy.evaluation_weights():
            found = [self.model.encode(part).features.float() for part in images.split(64)]
        return torch.cat(found)

    def everything(self, stream: Iterable[Any]) -> Pair:
        """Give the features of all images of a stream, and class ids."""
        found = [self.images(experience) for experience in stream]
        return torch.cat([self.features(x) for x, _ in found]), torch.cat([y for _, y in found])

    def views(self, images: Tensor) -> dict[str, Tensor]:
        """Make all kinds of images that are told apart."""
        moved = torch.cat([flip_crop(images) for _ in range(4)])
        turned = [torch.rot90(images, k, (2, 3)) for k in (1, 2)]
        turned.append(images[:, torch.randperm(images.shape[1])])
        views = {"plain": images, "moved": moved, "turned": torch.cat(turned), **self.fixed}
        if self.kept:
            views |= {"toward": self.pushed(images), "old": torch.cat(self.kept)}
        return views

    def pushed(self, images: Tensor) -> Tensor:
        """Push the images nearest to each old class mean towards it.

        Few steps down the gradient of the squared distance of features, as in Goswami et al. 2024
        (https://arxiv.org/abs/2405.19074), which takes the drift of such images for the class's.
        """
        old = self.means.means[self.means.counts > 0]
        features = F.normalize(self.features(images), dim=1)
        near = torch.cdist(old, features).topk(NEAR, dim=1, largest=False).indices.flatten()
        parts = zip(images[near].split(64), old.repeat_interleave(NEAR, 0).split(64), strict=True)
        with self.run.strategy.evaluation_weights():
            return torch.cat([self._descend(*part) for part in parts])

    def _descend(self, images: Tensor, targets: Tensor) -> Tensor:
        for _ in range(STEPS):
            images = images.detach().requires_grad_()
            far = F.normalize(self.model.encode(images).features, dim=1) - targets
            (slope,) = torch.autograd.grad(far.square().sum(), images)
            images = images - LENGTH * F.normalize(slope.flatten(1), dim=1).view_as(images)
        return images.detach()

    def task(self, experience: Any) -> Task:
        """Learn a task; give what was seen of it."""
        with preserved():
            torch.manual_seed(self.run.tasks_done())
            images, targets = self.images(experience)
            views = self.views(images)
        before = {name: self.features(view) for name, view in views.items()}
        self.run.next_task()
        after = {name: self.features(view) for name, view in views.items()}
        self.means.follow(before["plain"], after["plain"])
        self.means.update(after["plain"], targets)
        self.kept += [images[targets == c][:OLD] for c in targets.unique()]
        return {"targets": targets, "before": before, "after": after}


def dead_leaves(n: int, side: int = 64, seed: int = 0) -> Tensor:
    """Draw images of overlapping discs, uint8 ``(n, 3, side, side)``.

    Radii r with a density of r^-3, colours uniform: statistics near those of photographs (Lee et
    al. 2001; for learning, Baradad et al. 2021, https://arxiv.org/abs/2106.05963).
    """
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    images = np.zeros((n, side, side, 3), np.uint8)
    for image in images:
        smallest, largest = side / 12, side / 2
        share = draw.random(DISCS)
        radii = (smallest**-2 - share * (smallest**-2 - largest**-2)) ** -0.5
        colours = draw.integers(0, 256, (DISCS, 3))
        for r, colour, (cy, cx) in zip(radii, colours, side * draw.random((DISCS, 2)), strict=True):
            image[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = colour
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def foreign_images(options: argparse.Namespace) -> Tensor | None:
    """Give images of another data set, if one is asked for."""
    if options.foreign is None:
        return None
    amount = {"train_per_class": FOREIGN.get(options.foreign), "test_per_class": 1}
    found = create_benchmark(
        options.foreign, data_root=Path(options.data_root).expanduser(), n_tasks=1, seed=0, **amount
    )
    batches = DataLoader(found.train_stream[0].dataset.eval(), 64)
    return torch.cat([batch[0] for batch in batches])


def keep_features(run: Run, folder: Path, foreign: Tensor | None = None) -> None:
    """Write ``untouched.pt``, ``task_T.pt`` and, in the end, ``last.pt`` (train, then test)."""
    lab, streams = Lab(run, foreign), (run.benchmark.train_stream, run.benchmark.test_stream)
    folder.mkdir(parents=True, exist_ok=True)
    torch.save([lab.everything(stream) for stream in streams], folder / "untouched.pt")
    for t, experience in enumerate(streams[0]):
        torch.save(lab.task(experience), folder / f"task_{t}.pt")
        print(f"task {t + 1} of {run.settings.n_tasks}", flush=True)
    torch.save([lab.everything(stream) for stream in streams], folder / "last.pt")


def right(head: Readout, test: Pair) -> Tensor:
    """Say for each image whether its highest score is that of its class, ``(n,)``."""
    return head(test[0]).argmax(1) == test[1]


def gain(ours: Tensor, theirs: Tensor) -> tuple[float, float]:
    """Give the difference of two shares (%) and its standard error, paired over images."""
    difference = 100 * (ours.double() - theirs.double())
    return float(difference.mean()), float(difference.std() / len(difference) ** 0.5)


def followed(head: Any, tasks: Iterable[Task], views: Iterable[str] = ("plain",)) -> Any:
    """Feed a head task by task; what follows sees some views of each task's images."""
    for task in tasks:
        if head.follows and head.is_fed:
            seen = [[task[when][name] for name in views] for when in ("before", "after")]
            head = head.follow(*(torch.cat(features) for features in seen))
        head = head.update(task["after"]["plain"], task["targets"])
    return head


class HalfMap(RidgeMap):
    """Of features of the untouched backbone beside the present ones, only the latter move."""

    def __call__(
        self, means: Tensor, scatter: Tensor | None, before: Tensor, after: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        half = means.shape[1] // 2
        w = torch.eye(2 * half).to(means)
        pair = (F.normalize(x[:, half:], dim=1) for x in (before, after))
        w[half:, half:] = ridge_map(*pair, self.penalty)
        return means @ w, None if scatter is None else w.T @ scatter @ w


def beside(tasks: list[Task], untouched: Pair) -> Iterator[Task]:
    """Put features of the untouched backbone beside each task's, both of unit length."""
    start = 0
    for task in tasks:
        still = untouched[0][start : start + len(task["targets"])]
        start += len(still)
        pair = {w: {"plain": _joined(still, task[w]["plain"])} for w in ("before", "after")}
        yield {"targets": task["targets"], **pair}


def _joined(left: Tensor, right: Tensor) -> Tensor:
    return torch.cat([F.normalize(left, dim=1), F.normalize(right, dim=1)], dim=1)


def softmax(train: Pair, test: Pair, strength: float = 10.0) -> Tensor:
    """Say which images a softmax trained to the end on features of unit length gets right."""
    (x, y), (test_x, test_y) = (
        (F.normalize(f, dim=1).numpy(), t.numpy()) for f, t in (train, test)
    )
    found = LogisticRegression(C=strength, max_iter=300).fit(x, y).predict(test_x)
    return torch.from_numpy(found == test_y)


def samples(head: Any, n: int = 100) -> Pair:
    """Draw n features a class from the Gaussians that a head keeps."""
    shared = head.scatter.double() / head.counts.sum()
    shared += 1e-6 * shared.diagonal().mean() * torch.eye(len(shared))
    noise = torch.randn(len(head.means), n, len(shared), generator=torch.Generator().manual_seed(0))
    drawn = head.means[:, None] + (noise.double() @ torch.linalg.cholesky(shared).T).float()
    return drawn.flatten(0, 1), torch.arange(len(head.means)).repeat_interleave(n)


def rows(folder: Path) -> Iterator[tuple[str, list[Tensor]]]:
    """Give what each head is, and what it gets right, for each penalty where it follows."""
    paths = sorted(folder.glob("task_*.pt"), key=lambda path: int(path.stem.split("_")[1]))
    tasks: list[Task] = [torch.load(path, weights_only=True) for path in paths]
    train, test = torch.load(folder / "last.pt", weights_only=True)
    still, still_test = torch.load(folder / "untouched.pt", weights_only=True)
    width, n_classes = test[0].shape[1], int(test[1].max()) + 1

    def new(name: str, **options: Any) -> Readout:
        return create_readout(name, width, n_classes, **options)

    def every(views: Iterable[str]) -> list[Any]:
        return [followed(new("lda_drift", penalty=p), tasks, views) for p in PENALTIES]

    yield "untouched backbone, lda", [right(new("lda").fit(*still), still_test)]
    for name in ("ncm", "ridge", "lda"):
        yield f"task by task, {name}", [right(followed(new(name), tasks), test)]
    known = {name: words for name, words in VIEWS.items() if name in tasks[-1]["before"]}
    for name, words in known.items():
        heads = every(["old"] if name == "old" else dict.fromkeys(("plain", name)))
        yield f"follows, {words}", [right(head, test) for head in heads]
    for dropped in (("leaves", "foreign", "old"), ("foreign", "old"), ("old",)):
        names = [name for name in known if name not in dropped]
        yield f"follows, {', '.join(names)}", [right(h, test) for h in every(names)]
    trained = [softmax(samples(head), test, 100.0) for head in every(["plain"])]
    yield "follows, as they are; a softmax trained on samples of its Gaussians", trained
    doubled = list(beside(tasks, still))
    heads = [FollowingDiscriminant(2 * width, n_classes, move=HalfMap(p)) for p in PENALTIES]
    both = (_joined(still_test[0], test[0]), test[1])
    ensemble = [right(followed(head, doubled), both) for head in heads]
    yield "follows, as they are; beside the untouched backbone's features", ensemble
    for name in ("ncm", "lda", "lda_drift", "ridge"):
        yield f"all images again, {name}", [right(new(name).fit(*train), test)]
    yield "all images again, softmax", [softmax(train, test)]


def run_of(
    options: argparse.Namespace, n_tasks: int, head: str, *, show: bool = False, **own: Any
) -> Run:
    """Make a run ready whose accuracies are those on held-out images after the last task."""
    config = RunConfig(
        method=options.method,
        benchmark=options.benchmark,
        n_tasks=n_tasks,
        preset=options.preset,
        weights=options.weights,
        head=head,
        options={**HELD_OUT, **own},
    )
    resources = Resources(
        data_root=options.data_root, device="cpu", threads=options.threads, final_only=True
    )
    return Run(resolve_config(config), resources, show=show)


def main(arguments: list[str] | None = None) -> None:
    """Make what is missing and print the table."""
    parser = parser_of(__doc__)
    parser.add_argument("--tasks", type=int, default=50)
    parser.add_argument("--foreign", help="another data set whose images the map may see too")
    options = parser.parse_args(arguments)
    parts = (options.method, options.benchmark, f"{options.tasks}tasks", options.preset)
    folder = options.out / "-".join((*parts, *filter(None, [options.foreign])))
    if not (folder / "last.pt").exists():
        run = run_of(options, options.tasks, "linear")
        keep_features(run, folder, foreign_images(options))
    print(f"| head | AA; with penalties {', '.join(f'{p:g}' for p in PENALTIES)} | on plain |")
    print("|---|---|---|")
    plain = None
    for what, found in rows(folder):
        best = max(found, key=lambda hits: int(hits.sum()))
        plain = best if what == PLAIN else plain
        more = "{:+.1f} ± {:.1f}".format(*gain(best, plain)) if plain is not None else ""
        cells = " / ".join(f"{100 * float(hits.double().mean()):.1f}" for hits in found)
        print(f"| {what} | {cells} | {'' if best is plain else more} |", flush=True)


def parser_of(words: str) -> argparse.ArgumentParser:
    """Give the options of a training whose runs are no records of the package."""
    parser = argparse.ArgumentParser(description=words.partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for what was measured")
    parser.add_argument("--data-root", default="~/.cache/avalanche_ham")
    parser.add_argument("--weights")
    parser.add_argument("--method", default="ham_plus")
    parser.add_argument("--benchmark", default="cifar100")
    parser.add_argument("--preset", default="study", choices=tuple(PRESETS))
    parser.add_argument("--threads", type=int)
    return parser


if __name__ == "__main__":
    main()
