"""A progress bar over tasks and steps, and a line of results after each task."""

from __future__ import annotations

import sys
from typing import Any

from avalanche.training.plugins import SupervisedPlugin
from tqdm import tqdm

EVERY = 10  # steps between refreshes of loss and accuracy, which wait for the device


class Progress(SupervisedPlugin, supports_distributed=True):
    """Show task, epoch, loss, batch accuracy and the time left on standard error.

    Args:
        n_tasks: length of the stream.
        title: shown in front.
        show: False keeps silent.
    """

    def __init__(self, n_tasks: int, *, title: str, show: bool = True) -> None:
        super().__init__()
        self.n_tasks, self.title, self.show = n_tasks, title, show
        self.done = 0
        self.bar: Any = None

    def __enter__(self) -> Progress:
        self.bar = tqdm(
            total=self.n_tasks,
            initial=self.done,
            file=sys.stderr,
            disable=not self.show,
            desc=self.title,
            bar_format="{desc} {percentage:3.0f}% |{bar:20}| {elapsed}<{remaining} {postfix}",
        )
        return self

    def __exit__(self, *args: object) -> None:
        self.bar.close()

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        """Move the bar by a step's share of a task."""
        if not self.show or self.bar is None or strategy.step % EVERY:
            return
        self.bar.n = self.done + min(1.0, strategy.step / strategy.total_steps)
        right = (strategy.mb_output.argmax(1) == strategy.mb_y).float().mean()
        self.bar.set_postfix_str(
            f"task {min(self.done + 1, self.n_tasks)}/{self.n_tasks} "
            f"epoch {strategy.clock.train_exp_epochs + 1} "
            f"loss {float(strategy.loss.detach()):.3f} accuracy {100 * float(right):.0f} %"
        )

    def task_done(self, tasks: int, row: list[float] | None) -> None:
        """Note the number of tasks done; print the accuracy on each, where it was measured."""
        self.done = tasks
        if self.bar is not None:
            self.bar.n = self.done
            self.bar.refresh()
        if self.show and row is not None:
            mean = 100 * sum(row) / len(row)
            tqdm.write(
                f"{self.title}: task {len(row)}/{self.n_tasks}  AA so far {mean:.2f} %  "
                f"newest task {100 * row[-1]:.1f} %",
                file=sys.stderr,
            )

    def skip(self, tasks: int) -> None:
        """Start at a resumed run's place."""
        self.done = tasks
        if self.show:
            print(f"{self.title}: going on after task {tasks}/{self.n_tasks}", file=sys.stderr)
