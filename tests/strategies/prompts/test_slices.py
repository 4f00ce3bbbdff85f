"""Rows of tasks: what loading a state does to the trainable ones."""

from __future__ import annotations

import pytest
import torch
from toys import Watch, make

from avalanche_ham.strategies.prompts.slices import TaskSlices


def grown(*counts: int) -> TaskSlices:
    """Slices of so many rows a task, numbered through."""
    slices, first = TaskSlices(3), 0
    for count in counts:
        slices.grow(torch.arange(first, first + count).float()[:, None].repeat(1, 3))
        first += count
    return slices


@pytest.mark.parametrize("own", [(), (2,), (2, 1), (1, 4)])
def test_loading_gives_the_rows_of_the_saved_tasks_whatever_was_there(own):
    saved, slices = grown(2, 1), grown(*own)
    slices.load_state_dict(saved.state_dict())
    assert torch.equal(slices.rows(), saved.rows()) and slices.new.shape == (1, 3)
    assert slices.new.requires_grad and not slices.old.requires_grad


@pytest.mark.parametrize("method", ["dual_prompt", "coda_prompt"])
def test_a_state_reloaded_in_the_middle_of_a_task_goes_on_training(benchmark, method):
    seen = []

    def reload(strategy):
        strategy.model.load_state_dict(strategy.model.state_dict())
        trained = {id(p) for g in strategy.optimizer.param_groups for p in g["params"]}
        seen.append({id(p) for p in strategy.model.parameters() if p.requires_grad} - trained)

    strategy = make(method, plugins=[Watch(after_update=reload)])
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert seen and not any(seen)
