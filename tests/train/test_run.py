"""Training: what it learns, keeps, counts, writes and refuses."""

import json
import math

import pytest
import torch
from torch import nn

from edgenet.config import RunConfig
from edgenet.errors import CheckpointError, ConfigError, EdgeIndexError, ShapeError
from edgenet.pretrained import from_pretrained
from edgenet.train import (
    METRICS,
    Callback,
    DivergenceError,
    RunResult,
    Score,
    Tally,
    Task,
    Training,
    read_metrics,
    read_result,
    read_run_model,
    run,
)

from train.small_data import DATASETS, config, graphs, nodes, signals  # isort: skip


def fit(data, settings, **options):
    return run(settings, dataset=data, progress=False, **options)


def weights(result, seed=0):
    return result.models[seed].state_dict()


def equal(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


# ---------------------------------------------------------------- learning
@pytest.mark.parametrize(
    "name, layer, better",
    [("nodes", "gcn", 0.9), ("nodes", "gat", 0.9), ("graphs", "gcnn", 0.9), ("signals", "edge_varying", 0.8)],
)
def test_every_kind_of_data_set_is_learned(name, layer, better):
    options = {"model__options": {"readout": "flatten"}} if name == "signals" else {}
    data = signals(count=400) if name == "signals" else DATASETS[name]()
    result = fit(data, config(layer, training__epochs=60 if name == "nodes" else 30, model__dropout=0.0, **options))
    history = result.histories[0]
    assert history[-1]["loss"] < 0.5 * history[0]["loss"] and history[-1]["train"] > better
    assert result.metric == data.metric and result.mean() > 0.7


def test_a_value_is_learned_and_its_error_has_the_units_of_the_target():
    settings = config("gcnn", training__epochs=25, model__options={"readout": "node"}, training__batch_size=5)
    result = fit(signals("value", count=200), settings)
    assert result.mean() < 0.3  # of a target with standard deviation 1
    x, y = (data := signals("value", count=200).test[0]).x, data.y
    with torch.no_grad():
        guess = result.models[0](x, data.edge_index, data.edge_weight).squeeze(1)
    assert result.mean() == pytest.approx((guess - y).square().mean().sqrt().item(), abs=1e-6)


@pytest.mark.parametrize("name", DATASETS)
def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(name):
    settings = config("gat" if name != "values" else "gcnn", training__seeds=[3, 4])
    a, b = fit(DATASETS[name](), settings), fit(DATASETS[name](), settings)
    assert equal(weights(a, 3), weights(b, 3)) and not equal(weights(a, 3), weights(a, 4))
    assert [r["loss"] for r in a.histories[3]] == [r["loss"] for r in b.histories[3]]


def test_a_seed_does_not_depend_on_the_seeds_before_it():
    together, alone = (fit(signals(), config("gcnn", training__seeds=seeds)) for seeds in ([1, 2], [2]))
    assert equal(weights(together, 2), weights(alone, 2))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_model_has_the_configured_dtype_and_the_default_is_put_back(dtype):
    before = torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()
    result = fit(nodes(), config("edge_varying", training__dtype=dtype, model__options={"bank": "heads"}))
    assert {p.dtype for p in result.models[0].parameters()} == {getattr(torch, dtype)}
    assert (torch.get_default_dtype(), torch.are_deterministic_algorithms_enabled()) == before


def test_edge_tables_are_made_before_the_optimizer_and_are_trained():
    class Start(Callback):
        def on_start(self, training):
            self.before = {name: p.detach().clone() for name, p in training.model.named_parameters()}
            self.training = training

    start = Start()
    fit(nodes(), config("edge_varying", model__options={"bank": "heads", "heads": 2}), callbacks=[start])
    tables = [name for name in start.before if "edge_table" in name]
    after = dict(start.training.model.named_parameters())
    assert tables and all(not torch.equal(after[name], start.before[name]) for name in tables)


# ---------------------------------------------------------------- stopping
class Script(Callback):
    """Lets a run believe that its validation scores are those of a script, by way of the model's own weights."""

    def after_step(self, training):
        with torch.no_grad():
            for p in training.model.parameters():
                p.fill_(training.epoch / 100)


def scripted(monkeypatch, values, **changes):
    """A run whose epochs have the given (validation metric, validation loss); its weights say which epoch was kept."""
    evaluate, epoch = Task.evaluate, [0]

    def scored(task, model, **options):
        scores = evaluate(task, model, **options)
        if epoch[0] < len(values):
            scores["val"] = Score(*values[epoch[0]])
        epoch[0] += 1
        return scores

    monkeypatch.setattr(Task, "evaluate", scored)
    result = fit(nodes(), config(training__epochs=len(values), **changes), callbacks=[Script()])
    kept = next(iter(result.models[0].parameters())).flatten()[0].item()
    assert round(100 * kept) == result.seeds[0].best_epoch
    return result.seeds[0].best_epoch, result.seeds[0].epochs


def test_the_epoch_with_the_best_metric_is_kept_and_ties_go_to_the_lower_loss(monkeypatch):
    assert scripted(monkeypatch, [(0.5, 1.0), (0.9, 0.9), (0.7, 0.1), (0.8, 0.2)]) == (2, 4)
    assert scripted(monkeypatch, [(0.5, 1.0), (0.9, 0.9), (0.9, 0.8), (0.9, 0.8)]) == (3, 4)


def test_the_epoch_with_the_lowest_loss_is_kept_where_that_is_asked_for(monkeypatch):
    changes = {"training__stop_by": "loss"}
    assert scripted(monkeypatch, [(0.5, 1.0), (0.9, 0.9), (0.7, 0.1), (0.8, 0.2)], **changes) == (3, 4)


def test_training_stops_when_patience_is_out(monkeypatch):
    course = [(0.5, 1.0), (0.9, 0.9), (0.7, 0.8), (0.8, 0.7), (0.8, 0.95), (0.8, 0.95), (0.8, 0.95)]
    assert scripted(monkeypatch, course, training__patience=2) == (2, 4)
    # the loss went on falling until epoch 4, and patience began anew there
    assert scripted(monkeypatch, course, training__patience=2, training__stop_by="either") == (2, 6)
    assert scripted(monkeypatch, course, training__patience=0) == (2, 7)


def test_a_lower_error_is_a_better_one():
    result = fit(signals("value"), config("gcnn", training__epochs=15, model__options={"readout": "node"}))
    best = min(result.histories[0], key=lambda r: (r["val"], r["val_loss"]))
    assert result.seeds[0].best_epoch == best["epoch"] and result.mean("val") == best["val"]


# ---------------------------------------------------------------- optimizer, callbacks
def test_decay_on_the_first_layer_leaves_the_others_alone():
    class Groups(Callback):
        def on_optimizer(self, training):
            first = {id(p) for p in training.model.convs[0].parameters()}
            for group in training.optimizer.param_groups:
                for p in group["params"]:
                    assert group["weight_decay"] == (0.3 if id(p) in first else 0.0)
            self.count = sum(len(group["params"]) for group in training.optimizer.param_groups)
            assert self.count == len(list(training.model.parameters()))

    groups = Groups()
    fit(nodes(), config(optimizer__weight_decay=0.3, optimizer__decay_on="first"), callbacks=[groups])
    assert groups.count == 4


@pytest.mark.parametrize(
    "name, kind",
    [
        ("adam", "Adam"), ("adamw", "AdamW"), ("sgd", "SGD"), ("radam", "RAdam"), ("adamax", "Adamax"),
        ("shift_adamax", "ShiftAdaMax"),
    ],
)  # fmt: skip
def test_the_optimizer_is_the_one_that_was_asked_for(name, kind):
    class Look(Callback):
        def on_optimizer(self, training):
            self.kind = type(training.optimizer).__name__

    look = Look()
    fit(nodes(), config(optimizer__name=name), callbacks=[look])
    assert look.kind == kind


def test_callbacks_are_called_in_order_at_every_step():
    class Notes(Callback):
        def __init__(self):
            self.notes = []

        def on_start(self, training):
            self.notes.append(("start", training.epoch, training.step))

        def penalty(self, training):
            self.notes.append(("penalty", training.epoch, training.step))
            assert all(p.grad is None for p in training.model.parameters())

        def after_backward(self, training):
            self.notes.append(("backward", training.epoch, training.step))
            assert all(p.grad is not None for p in training.model.parameters())

        def after_step(self, training):
            self.notes.append(("step", training.epoch, training.step))

    notes = Notes()
    fit(graphs(5), config(training__epochs=2, training__batch_size=3), callbacks=[notes])
    wanted = [("start", 0, 0)]
    for step, epoch in ((1, 1), (2, 1), (3, 2), (4, 2)):
        wanted += [(name, epoch, step) for name in ("penalty", "backward", "step")]
    assert notes.notes == wanted


def test_a_penalty_is_trained_on_and_is_not_part_of_the_reported_loss():
    class Shrink(Callback):
        def penalty(self, training):
            return 1e3 * sum(p.square().sum() for p in training.model.parameters())

    free, small = (fit(nodes(), config(training__epochs=40), callbacks=c) for c in ([], [Shrink()]))
    size = [sum(p.square().sum().item() for p in r.models[0].parameters()) for r in (free, small)]
    assert size[1] < 0.1 * size[0] and small.histories[0][0]["loss"] == free.histories[0][0]["loss"] < 10


def test_a_callback_may_have_some_of_the_hooks_only():
    class Half:
        steps = 0

        def after_step(self, training):
            assert isinstance(training, Training)
            self.steps += 1

    half = Half()
    fit(nodes(), config(), callbacks=[half])
    assert half.steps == 6


# ---------------------------------------------------------------- scores
def test_micro_f1_counts_over_all_batches_at_once():
    tally = Tally(METRICS["micro_f1"])
    tally.add(torch.tensor([[1.0, -1.0], [1.0, -1.0]]), torch.tensor([[1.0, 1.0], [0.0, 0.0]]), 2.0)
    tally.add(torch.tensor([[1.0, -1.0]]), torch.tensor([[1.0, 0.0]]), 5.0)
    assert tally.metric() == pytest.approx(2 * 2 / (2 * 2 + 1 + 1)) and tally.loss() == pytest.approx(3.0)


def test_accuracy_and_rmse_by_hand():
    accuracy, rmse = Tally(METRICS["accuracy"]), Tally(METRICS["rmse"])
    accuracy.add(torch.tensor([[1.0, 2.0], [3.0, 0.0], [0.0, 1.0]]), torch.tensor([1, 0, 0]), 0.0)
    rmse.add(torch.tensor([[1.0], [5.0]]), torch.tensor([4.0, 1.0]), 0.0)
    assert accuracy.metric() == pytest.approx(2 / 3) and rmse.metric() == pytest.approx(math.sqrt((9 + 16) / 2))


def test_without_a_hit_or_a_label_f1_is_0():
    tally = Tally(METRICS["micro_f1"])
    tally.add(torch.tensor([[-1.0]]), torch.tensor([[0.0]]), 0.0)
    assert tally.metric() == 0.0


def test_mean_and_sample_standard_deviation_over_seeds():
    result = fit(nodes(), config(training__seeds=[0, 1, 2], training__epochs=1))
    tests = torch.tensor([r.test for r in result.seeds])
    assert result.mean() == pytest.approx(tests.mean().item()) and result.std() == pytest.approx(tests.std().item())
    alone = fit(nodes(), config(training__epochs=1))
    assert math.isnan(alone.std()) and alone.summary()["test"]["std"] is None


def test_val_and_test_are_scored_on_their_own_nodes():
    result, data = fit(nodes(), config()), nodes().train[0]
    right = result.models[0](data.x, data.edge_index).argmax(1) == data.y
    for name in ("val", "test"):
        assert result.mean(name) == right[data[f"{name}_mask"]].double().mean().item()


# ---------------------------------------------------------------- files
def test_a_run_leaves_its_configuration_metrics_models_and_summary(tmp_path):
    settings = config(out=str(tmp_path / "a" / "run"), training__seeds=[0, 5])
    result = fit(nodes(), settings)
    folder = tmp_path / "a" / "run"
    found = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    model = [f"model/{name}" for name in ("README.md", "config.json", "model.safetensors")]
    own = [f"seed-{s}/{name}" for s in (0, 5) for name in ("metrics.jsonl", "result.json", *model)]
    assert found == sorted(["config.toml", "summary.json", *own])
    assert RunConfig.from_toml(folder / "config.toml") == settings
    records = read_metrics(folder / "seed-5" / "metrics.jsonl")
    assert [r["epoch"] for r in records] == [1, 2, 3, 4, 5, 6]
    assert list(records[0]) == ["epoch", "loss", "train", "val", "test", "val_loss", "seconds"]
    assert json.loads((folder / "summary.json").read_text()) == result.summary()


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert isinstance(fit(nodes(), config()), RunResult) and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "name, layer, options",
    [
        ("nodes", "gat", {"heads": 2}),
        ("nodes", "edge_varying", {"bank": "heads", "heads": 2}),
        ("nodes", "node_varying", {}),
        ("nodes", "hybrid", {"bank": "heads"}),
        ("nodes", "spectral", {}),
        ("signals", "edge_varying", {"readout": "flatten"}),
        ("values", "gcnn", {"readout": "node"}),
    ],
)
def test_a_model_comes_back_from_its_folder_alone(tmp_path, name, layer, options):
    data = DATASETS[name]()
    settings = config(layer, out=str(tmp_path / "run"), model__options=options, training__epochs=2)
    trained = fit(data, settings).models[0]
    folder = tmp_path / "run" / "seed-0"
    model, result = from_pretrained(folder / "model"), read_result(folder)
    first = data.test[0]
    weight = (first.edge_weight,) if "edge_weight" in first else ()
    assert not model.training and equal(model.state_dict(), trained.state_dict()) and result.seed == 0
    with torch.no_grad():
        assert torch.equal(model(first.x, first.edge_index, *weight), trained(first.x, first.edge_index, *weight))


def test_a_result_with_another_content_is_refused(tmp_path):
    fit(nodes(), config(out=str(tmp_path / "run")))
    own = tmp_path / "run" / "seed-0"
    good = json.loads((own / "result.json").read_text())
    numbers = good["result"]
    for broken, says in [
        ({"a": 1}, "not the result of a training"),
        ([], "not the result of a training"),
        ({**good, "format": 2}, "of another format version than 1"),
        ({**good, "result": [1]}, "damaged, no result"),
        ({**good, "result": {}}, "damaged, no result"),
        ({**good, "result": {**numbers, "val": "x"}}, "damaged, .* val is 'x'"),
        ({**good, "result": {**numbers, "test": math.nan}}, "damaged, .* test is nan"),
        ({**good, "result": {**numbers, "epochs": -1}}, "damaged, .* epochs is -1"),
        ({**good, "result": {**numbers, "colour": 1}}, "damaged, no result"),
    ]:
        (own / "result.json").write_text(json.dumps(broken))
        with pytest.raises(CheckpointError, match=rf"result\.json: .*{says}") as error:
            read_result(own)
        assert "\n" not in str(error.value)
    (own / "result.json").write_text("{")
    with pytest.raises(CheckpointError, match=r"result\.json: damaged, it is no JSON"):
        read_result(own)
    (own / "result.json").unlink()
    with pytest.raises(CheckpointError, match="the training is not done"):
        read_result(own)


def test_the_model_of_a_run_is_that_of_its_best_seed(tmp_path):
    for data, layer, options in ((nodes(), "gcn", {}), (signals("value"), "gcnn", {"readout": "node"})):
        folder = tmp_path / layer
        settings = config(layer, out=str(folder), training__seeds=[0, 1, 2], model__options=options)
        result = fit(data, settings)
        best = (min if result.metric == "rmse" else max)(result.seeds, key=lambda r: r.val)
        found = {seed for seed, model in result.models.items() if result.seeds[seed].val == best.val}
        model = read_run_model(folder).state_dict()
        assert any(equal(model, result.models[seed].state_dict()) for seed in found)
    assert equal(read_run_model(folder / "seed-1").state_dict(), result.models[1].state_dict())
    with pytest.raises(CheckpointError, match="no seed of this run is done"):
        read_run_model(tmp_path)


def test_a_folder_that_holds_something_is_not_touched_unless_told(tmp_path):
    settings = config(out=str(tmp_path / "run"))
    fit(nodes(), settings)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(ConfigError, match=r"holds a run already.*--resume.*--overwrite"):
        fit(nodes(), settings)
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years")
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(ConfigError, match="it is no run"):
            fit(nodes(), config(out=str(tmp_path / "mine")), **options)
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]
    with pytest.raises(ConfigError, match="is a file"):
        fit(nodes(), config(out=str(tmp_path / "mine" / "thesis.txt")))


def test_a_config_toml_of_something_else_is_not_overwritten(tmp_path):
    (tmp_path / "config.toml").write_text('[package]\nname = "mine"\n')
    for options in ({}, {"overwrite": True}, {"resume": True}):
        with pytest.raises(ConfigError, match=r"its config\.toml is of no run.*no key 'package'"):
            fit(nodes(), config(out=str(tmp_path)), **options)
    assert (tmp_path / "config.toml").read_text() == '[package]\nname = "mine"\n'


def test_overwriting_replaces_the_run_and_leaves_other_files(tmp_path):
    fit(nodes(), config(out=str(tmp_path / "run"), training__seeds=[0, 1]))
    (tmp_path / "run" / "seed-1" / "notes.txt").write_text("mine")
    fit(nodes(), config("gat", out=str(tmp_path / "run")), overwrite=True)
    assert [p.name for p in (tmp_path / "run" / "seed-1").iterdir()] == ["notes.txt"]
    assert RunConfig.from_toml(tmp_path / "run" / "config.toml").model.layer == "gat"


# ---------------------------------------------------------------- bad input
def test_a_loss_that_is_not_finite_says_when_and_what_to_try():
    class Poison(Callback):
        def penalty(self, training):
            return torch.tensor(float("nan")) if training.epoch == 3 else None

    says = r"the penalty of the callbacks is nan at epoch 3, step 3 \(seed 0\).*optimizer\.lr=0\.002"
    with pytest.raises(DivergenceError, match=says):
        fit(nodes(), config(), callbacks=[Poison()])


def test_a_score_that_is_not_finite_is_no_result(tmp_path):
    class Break(Callback):
        def after_step(self, training):
            if training.epoch == 2:
                next(training.model.parameters()).data.fill_(float("nan"))

    for name in ("nodes", "values"):
        options = {"model__options": {"readout": "node"}, "training__batch_size": 100} if name == "values" else {}
        settings = config("gcnn", out=str(tmp_path / name), **options)
        with pytest.raises(DivergenceError, match=r"the val.* is nan at epoch 2"):
            fit(DATASETS[name](), settings, callbacks=[Break()])
        assert [r["epoch"] for r in read_metrics(tmp_path / name / "seed-0" / "metrics.jsonl")] == [1]


def test_test_scores_that_are_not_finite_are_no_result():
    data = graphs()
    data.test[0].x[:] = 3e38  # finite, and its scores are not
    with pytest.raises(DivergenceError, match="test loss of the best model is"):
        fit(data, config("gcnn"))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd", "radam", "adamax", "shift_adamax"])
def test_a_step_too_large_for_its_dtype_is_a_divergence(name):
    with pytest.raises(DivergenceError, match=r"epoch 1.*optimizer\.lr=1e\+37, it is 1e\+38"):
        fit(nodes(), config(optimizer__name=name, optimizer__lr=1e38))


def test_features_that_are_not_finite_are_refused_before_training_and_named():
    data = nodes()
    data.train[0].x[5, 2] = float("nan")
    with pytest.raises(ShapeError, match=r"ring, train: x\[5, 2\] is nan; 1 of 96 entries"):
        fit(data, config())
    data = graphs()
    data.val[0].x[0, 1] = float("inf")
    with pytest.raises(ShapeError, match=r"rings, val: x\[0, 1\] is inf"):
        fit(data, config())


def test_bad_edges_are_refused_before_training():
    with pytest.raises(EdgeIndexError, match="node 99 does not exist"):
        fit(nodes(edge_index=torch.tensor([[0, 99], [1, 2]])), config())
    with pytest.raises(EdgeIndexError, match=r"torch\.int64"):
        fit(nodes(edge_index=torch.tensor([[0.0], [1.0]])), config())


def test_a_graph_without_edges_trains():
    result = fit(nodes(edge_index=torch.empty(2, 0, dtype=torch.long)), config("gat"))
    assert math.isfinite(result.mean())


def test_a_split_without_nodes_is_refused():
    with pytest.raises(ShapeError, match="the val split is empty"):
        fit(nodes(val_mask=torch.zeros(24, dtype=torch.bool)), config())


@pytest.mark.parametrize(
    "layer, options, says",
    [
        ("gatt", {}, "no layer is called 'gatt'.*Did you mean"),
        ("gcn", {"heads": 4}, "no heads"),
        ("gcn", {"colour": 4}, "no option 'colour'"),
        ("gcn", {"dropout": 0.5}, r"dropout is a key of \[model\]"),
        ("gat", {"heads": "many"}, "heads of NodeClassifier is a whole number"),
    ],
)
def test_a_model_that_cannot_be_made_is_a_configuration_error(layer, options, says):
    with pytest.raises(ConfigError, match=says):
        fit(nodes(), config(layer, model__options=options))


@pytest.mark.parametrize("device", ["cuda:99", "abacus", "meta", "xpu"])
def test_a_device_that_is_not_there_is_said_so(device):
    with pytest.raises(ConfigError, match=r"training\.device is"):
        fit(nodes(), config(training__device=device))


def test_a_damaged_metrics_line_is_named_and_a_half_line_is_not_read(tmp_path):
    file = tmp_path / "metrics.jsonl"
    file.write_text('{"epoch": 1}\n{"epoch": 2}\n{"epo')
    assert [r["epoch"] for r in read_metrics(file)] == [1, 2]
    file.write_text('{"epoch": 1}\nnonsense\n{"epoch": 2}\n')
    with pytest.raises(CheckpointError, match=r"metrics\.jsonl:2: damaged"):
        read_metrics(file)


def test_the_caller_keeps_a_model_that_still_works_after_training():
    model = fit(nodes(), config("gat")).models[0]
    assert isinstance(model, nn.Module) and not model.training
