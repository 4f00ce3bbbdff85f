"""One global LoRA that evolves: where a task starts, how it is aligned, what is merged."""

from __future__ import annotations

import pytest
import reference
import torch
from sampling import some_of
from streams import classic, logits
from toys import Watch, differing, make, state_of

from avalanche_ham.adapters import LowRank
from avalanche_ham.errors import OptionError, UnknownNameError
from avalanche_ham.evaluation.accuracy import accuracy_row
from avalanche_ham.merging.sign_alignment import SignAlignment, misaligned
from avalanche_ham.penalties import LwFPenalty
from avalanche_ham.runs.saving import load_tree, save_tree
from avalanche_ham.state import count_stored
from avalanche_ham.strategies.evolving import EvolvingStrategy

FAMILY = ("average", "pam", "pam_zero", "pam_lwf", "continual_ties", "tall", "tall_pam")


def watched(method: str, benchmark, n_tasks: int = 3, **options):
    """A trained strategy; the factors that each task started from and ended with."""
    starts, ends = [], []
    watch = Watch(
        before_training_epoch=lambda s: s.step == 0 and starts.append(s.adapters.current())
    )
    strategy = make(method, options, plugins=[watch])
    strategy.probe = lambda s: ends.append(s.adapters.current())
    for experience in benchmark.train_stream[:n_tasks]:
        strategy.train(experience, eval_streams=[])
    return strategy, starts, ends


def pairwise(x, y, rule):
    """Merge two updates factor by factor."""
    return {n: LowRank(rule(x[n].a, y[n].a), rule(x[n].b, y[n].b)) for n in x}


def same(x, y) -> bool:
    return all(torch.equal(p, q) for n in x for p, q in zip(x[n], y[n]))


@pytest.mark.parametrize(
    ("method", "rule"),
    [
        ("average", lambda u, v: (u + v) / 2),
        ("pam", lambda u, v: (u + v) / 2),
        ("continual_ties", lambda u, v: reference.ties_of_two(u, v, 0.9)),
        ("tall", lambda u, v: reference.tall_of_two(u, v, 0.1)),
    ],
)
def test_each_task_starts_from_the_global_lora_and_is_merged_into_it(benchmark, method, rule):
    strategy, starts, ends = watched(method, benchmark)
    known = ends[0]  # the first task is taken whole
    for start, end in zip(starts[1:], ends[1:]):
        for name, pair in start.items():
            torch.testing.assert_close(pair.a, known[name].a)
            torch.testing.assert_close(pair.b, known[name].b)
        known = pairwise(known, end, rule)
    found = strategy.inference_update()
    for name, pair in found.items():
        torch.testing.assert_close(pair.a, known[name].a)
        torch.testing.assert_close(pair.b, known[name].b)
    assert not same(found, ends[-1])
    assert strategy.adapters.n_terms == 0 and not strategy.adapters.is_open


@pytest.mark.parametrize("damping", [0.3, "sqrt", "inverse"])
@pytest.mark.parametrize(("method", "share"), [("average", 0.5), ("pam", 0.5)])
def test_a_damped_clone_is_merged_from_part_of_its_way(benchmark, method, share, damping):
    strategy, _, ends = watched(method, benchmark, damping=damping)
    known = ends[0]  # the first task is taken whole
    weights = {0.3: [0.3, 0.3], "sqrt": [2**-0.5, 3**-0.5], "inverse": [1 / 2, 1 / 3]}[damping]
    for end, weight in zip(ends[1:], weights):
        known = pairwise(known, end, lambda g, m, w=share * weight: g + w * (m - g))
    for name, pair in strategy.inference_update().items():
        torch.testing.assert_close(pair.a, known[name].a)
        torch.testing.assert_close(pair.b, known[name].b)


def test_damping_of_one_is_none_at_all_and_others_are_refused(benchmark):
    plain, damped = (watched("tall_pam", benchmark, **o)[0] for o in ({}, {"damping": 1.0}))
    assert same(plain.inference_update(), damped.inference_update())
    for value in (0, 1.5, "half"):
        with pytest.raises((OptionError, UnknownNameError), match="damping"):
            make("average", {"damping": value})


def by_hand(strategy, share: float, restart: str):
    """Look at the factors before and after each alignment and compare with the definition."""
    checked = []
    align = strategy.align

    def compare(alignment):
        before, known = strategy.adapters.current(), strategy.memory["global"]
        parameters = [
            id(p) for p in strategy.adapters.layers["blocks.0.attn.qkv"].branch.parameters()
        ]
        align(alignment)
        after = strategy.adapters.current()
        layer = strategy.adapters.layers["blocks.0.attn.qkv"]
        assert parameters == [id(p) for p in layer.branch.parameters()]
        for name, pair in known.items():
            for m, g, found in zip(before[name], pair, after[name]):
                top = torch.tensor(
                    reference.keep_top(g.flatten().tolist(), round(share * g.numel()))
                )
                wrong = (m * top.view_as(g)) < 0
                start = g if restart == "global" else torch.zeros_like(g)
                assert torch.equal(found, torch.where(wrong, start, m))
                assert not misaligned(found, g, share).any()
                checked.append(int(wrong.sum()))

    strategy.align = compare
    return checked


@pytest.mark.parametrize(
    ("method", "options", "share", "restart"),
    [
        ("pam", {}, 0.5, "global"),
        ("pam", {"align_share": 0.9, "align_every": 2}, 0.9, "global"),
        ("pam_zero", {}, 0.5, "zero"),
        ("tall_pam", {}, 0.5, "global"),
    ],
)
def test_signs_are_aligned_every_few_steps(benchmark, method, options, share, restart):
    strategy = make(method, {"steps": 6, "lr": 0.1, **options})
    checked = by_hand(strategy, share, restart)
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert not checked  # nothing is known yet
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    assert len(checked) == 5 * 3 * 2  # S is 1, none after the last step; three layers, two factors
    assert sum(checked) > 0


@pytest.mark.parametrize(("every", "steps", "times"), [(100, 40, 13), (2, 40, 19), (100, 4, 3)])
def test_the_schedule_shrinks_on_short_tasks(benchmark, every, steps, times, monkeypatch):
    calls = []
    monkeypatch.setattr(EvolvingStrategy, "align", lambda self, alignment: calls.append(self.step))
    strategy = make("pam", {"steps": steps, "align_every": every})
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    assert len(calls) == times


def test_a_last_alignment_leaves_no_important_entry_misaligned(benchmark):
    strategy = make("pam", {"lr": 0.1, "align_last": True, "align_share": 1.0})
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert strategy.describe() == {"misaligned": [0.0]}


def test_the_share_of_misaligned_entries_is_told(benchmark):
    strategy, _, ends = watched("average", benchmark, lr=0.1)
    known, shares = ends[0], []
    for end in ends[1:]:
        pairs = [(m, g) for n in known for m, g in zip(end[n], known[n])]
        wrong = sum(float(((m * g) < 0).sum()) for m, g in pairs)
        shares.append(wrong / sum(m.numel() for m, _ in pairs))
        known = pairwise(known, end, lambda u, v: (u + v) / 2)
    assert strategy.describe()["misaligned"] == pytest.approx(shares)
    assert all(0 < share < 1 for share in shares)


def test_ties_trims_the_clone_beside_the_global_lora(benchmark):
    seen = []

    def look(current):
        seen.append((current.adapters.current(), current.memory["global"]))
        trimmed.append(current.probed_updates())

    strategy, trimmed = make("continual_ties", {"density": 0.8, "lr": 0.1}), []
    strategy.probe = look
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert trimmed[0] == {}  # nothing is known before the first task has ended
    for name, pair in trimmed[1]["trimmed"].items():
        for m, g, found in zip(seen[1][0][name], seen[1][1][name], pair):
            tops = [
                torch.tensor(reference.keep_top(t.flatten().tolist(), int(0.8 * t.numel())))
                for t in (m, g)
            ]
            agrees = tops[0] * (tops[0] + tops[1]) > 0
            assert torch.equal(found.flatten(), torch.where(agrees, tops[0], torch.zeros(())))
    assert make("average").probed_updates() == {}


def test_without_a_merge_the_clone_takes_over(benchmark):
    strategy, starts, ends = watched("pam", benchmark, merges=False)
    assert same(starts[1], ends[0]) and same(starts[2], ends[1])
    assert same(strategy.inference_update(), ends[2])


def test_a_fresh_start_is_a_new_lora_and_is_merged_all_the_same(benchmark):
    strategy, starts, ends = watched("average", benchmark, start="fresh")
    assert all((pair.b == 0).all() for start in starts for pair in start.values())
    assert not same(starts[0], starts[1])
    first = pairwise(ends[0], ends[1], lambda u, v: (u + v) / 2)
    expected = pairwise(first, ends[2], lambda u, v: (u + v) / 2)
    for name, pair in strategy.inference_update().items():
        torch.testing.assert_close(pair.a, expected[name].a)


def test_the_pull_is_the_squared_distance_to_the_global_lora(benchmark):
    strategy, seen = make("average", {"pull": 0.7}), []

    def compare(current):
        known, total = current.memory["global"], 0.0
        for name, pair in known.items():
            for m, g in zip(current.adapters.current()[name], pair):
                total += sum(
                    (x - y) ** 2 for x, y in zip(m.flatten().tolist(), g.flatten().tolist())
                )
        found = current.penalty()
        found = None if found is None else found.detach()
        seen.append(float(found) if found is not None else None)
        assert (found is None) == (not known)
        assert found is None or float(found) == pytest.approx(0.7 * total, rel=1e-4)

    strategy.plugins.append(Watch(before_backward=compare))
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert seen[4] == 0 and seen[-1] > 0  # a clone begins at the global LoRA


def test_a_pull_keeps_the_clone_nearer(benchmark):
    distances = []
    for pull in (0.0, 10.0):
        _, starts, ends = watched("average", benchmark, 2, pull=pull, steps=20)
        moved = [(m - g).square().sum() for n in ends[1] for m, g in zip(ends[1][n], starts[1][n])]
        distances.append(float(sum(moved)))
    assert distances[1] < 0.5 * distances[0]


@pytest.mark.parametrize("start", ["global", "fresh"])
def test_lwf_s_teacher_is_the_global_model(benchmark, start):
    strategy, expected = make("pam_lwf", {"start": start}), []
    strategy.train(benchmark.train_stream[0], eval_streams=[])
    expected.append(logits(strategy)[:, strategy.model.head.classes])
    found = []

    def ask(current):
        teacher = current.regulariser.teacher
        generator = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (8, 3, 8, 8), generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            found.append(teacher.head(teacher.encode(images).features)[:, teacher.head.classes])

    strategy.plugins.append(Watch(before_training_epoch=ask))
    assert isinstance(strategy.regulariser, LwFPenalty)
    strategy.train(benchmark.train_stream[1], eval_streams=[])
    torch.testing.assert_close(found[0], expected[0], rtol=1e-4, atol=1e-4)


def test_evaluation_within_a_task_sees_it_merged_as_if_it_had_ended(benchmark):
    strategy, seen = make("tall_pam"), []
    strategy.probe = lambda s: seen.append(s.inference_update())
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience, eval_streams=[])
    assert same(strategy.inference_update(), seen[1])


def test_the_state_is_of_constant_size(long_benchmark, tiny_model):
    strategy = EvolvingStrategy(
        model=tiny_model(long_benchmark.n_classes),
        rank=4,
        steps=1,
        train_mb_size=4,
        alignment=SignAlignment(),
        evaluator=None,
    )
    for experience in long_benchmark.train_stream:
        strategy.train(experience)
        assert count_stored(strategy.memory) <= 3 * 4 * (48 + 144)
        assert strategy.adapters.n_terms == 0
    assert len(strategy.describe()["misaligned"]) == len(long_benchmark.train_stream) - 1
    assert logits(strategy).isfinite().all()


@pytest.mark.parametrize("method", ["pam", "pam_lwf", "tall"])
def test_reload_gives_the_same_predictions_and_goes_on_alike(benchmark, tmp_path, method):
    strategy, _, _ = watched(method, benchmark, 2)
    save_tree(tmp_path, strategy.state_tree())
    again = make(method)
    again.load_state_tree(load_tree(tmp_path))
    assert torch.equal(logits(again), logits(strategy))
    for one in (strategy, again):
        one.train(benchmark.train_stream[2], eval_streams=[])
    assert torch.equal(logits(again), logits(strategy))
    assert not differing(state_of(again.model), state_of(strategy.model))
    assert again.describe() == strategy.describe()


@pytest.mark.parametrize("method", some_of(FAMILY, "pam"))
def test_two_experiences_beat_chance(benchmark, method):
    strategy = make(method, {"steps": 30, "batch_size": 24})
    for experience in benchmark.train_stream[:2]:
        strategy.train(experience)
    with strategy.evaluation_weights():
        row = accuracy_row(strategy, list(benchmark.test_stream[:2]))
    assert sum(row.accuracy) / 2 > 0.4  # of four classes


def test_slots_and_the_classic_benchmark_with_triples():
    data, strategy = classic(), make("pam", {"slots": "q,v", "precision": "bf16"})
    for experience in data.train_stream:
        strategy.train(experience)
        strategy.eval(data.test_stream)
    assert (logits(strategy) > -1e3).sum(1).tolist() == [4] * 8
    assert all((pair.b[48:96] == 0).all() for pair in strategy.inference_update().values())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"weights_rule": "half"}, UnknownNameError, "weights_rule must be one of mean, one"),
        ({"start": "last"}, UnknownNameError, "start must be one of fresh, global"),
        ({"pull": -1.0}, OptionError, "pull must be at least 0"),
        ({"align_share": 2.0}, OptionError, "align_share must be at least 0 and at most 1"),
        ({"rank": 49}, OptionError, "rank must be between 1 and 48"),
    ],
)
def test_wrong_options_are_errors(options, error, message):
    with pytest.raises(error, match=message):
        make("pam", options)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("tall", {"shared_by": 3}, "shared_by must be at least 1 and at most 2"),
        ("tall_pam", {"shared_by": 3}, "shared_by must be at least 1 and at most 2"),
        ("continual_ties", {"density": 0.0}, "density must be above 0"),
        ("continual_ties", {"merges": False}, "merges must be true with a merge rule or weights"),
        ("pam", {"merges": False, "weights_rule": "one"}, "merges must be true with"),
        ("pam_er", {"scope": "current"}, "seen or seen_frozen: ReplayPenalty brings images"),
        ("lora_er", {"scope": "current"}, "seen or seen_frozen: ReplayPenalty brings images"),
    ],
)
def test_what_would_empty_the_lora_or_do_nothing_is_refused(method, options, message):
    with pytest.raises(OptionError, match=message):
        make(method, options)
