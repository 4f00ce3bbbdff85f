"""A training that is interrupted or diverges leaves no trace; another attempt is as the first."""

from __future__ import annotations

import copy

import pytest
import torch
from sampling import some_of
from toys import Watch, differing, make, state_of

from avalanche_ham.errors import DivergedError
from avalanche_ham.runs.config import Resources, RunConfig
from avalanche_ham.runs.runner import run

METHODS = (
    "ham",
    "lora",
    "lora_ewc",
    "lora_lwf",
    "finetune",
    "frozen",
    "ridge",
    "linear",
    "ties",
    "l2p",
    "dual_prompt",
    "coda_prompt",
    "sema",
    "inflora",
    "sd_lora",
    "fsa",
    "o_lora",
    "lora_er",
    "i_lora",
    "moe_lora",
    "pm",
    "slao",
    "pam_lwf",
    "magmax",
)


def interrupt_at(task, step):
    """A plugin that stops the training once, as Ctrl-C would."""
    done: list[int] = []

    def interrupt(strategy):
        if strategy.task == task and strategy.step == step and not done:
            done.append(step)
            raise KeyboardInterrupt

    return Watch(after_update=interrupt)


@pytest.mark.parametrize("task", [0, 1])
@pytest.mark.parametrize("method", some_of(METHODS, "ham", "sema"))
def test_an_interrupted_task_trained_again_ends_as_if_nothing_had_happened(benchmark, method, task):
    whole, broken = (
        make(method, head="linear,ridge,lda_drift", plugins=plugins)
        for plugins in ([], [interrupt_at(task, 2)])
    )
    for experience in benchmark.train_stream[:3]:
        whole.train(experience, eval_streams=[])
        if experience.current_experience == task and method != "ridge":
            before = copy.deepcopy(state_of(broken.model))
            with pytest.raises(KeyboardInterrupt):
                broken.train(experience, eval_streams=[])
            assert broken.task == task
            assert not differing(learned(before), learned(state_of(broken.model)))
        broken.train(experience, eval_streams=[])
    assert not differing(state_of(whole.model), state_of(broken.model))
    with whole.evaluation_weights(), broken.evaluation_weights(), torch.no_grad():
        images = torch.stack([x for x, *_ in benchmark.test_stream[0].dataset])
        assert torch.equal(whole.model.eval()(images), broken.model.eval()(images))


def learned(state):
    """Leave out frozen terms: they are rebuilt, and compared at the end."""
    return {name: tensor for name, tensor in state.items() if ".terms." not in name}


def test_after_a_divergence_a_smaller_rate_trains_from_the_state_of_before(benchmark):
    strategy = make("ham")
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    alphas = strategy.adapters.scales.tolist()
    group = strategy.optimizer.param_groups[0]
    rate, group["lr"] = group["lr"], 1e30
    with pytest.raises(DivergedError):
        strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert strategy.adapters.scales.tolist() == alphas
    group["lr"] = rate
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert len(strategy.memory["grouping"]["groups"]) == 2


@pytest.mark.parametrize("method", ["ham", "finetune", "sd_lora"])
def test_a_divergence_in_the_last_step_is_no_result(method, tmp_path):
    options = {"steps": 1, "lr": 1e30}
    config = RunConfig(method, preset="smoke", n_tasks=2, options=options)
    with pytest.raises(DivergedError, match=r"not finite .*smaller lr usually helps"):
        run(config, Resources(device="cpu"), out=tmp_path / "out", show=False)
    assert not list(tmp_path.rglob("*.safetensors")) and not list(tmp_path.rglob("*.jsonl"))
