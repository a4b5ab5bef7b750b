"""Compressed models in the checkpoints of Lightning and transformers: a fresh class of them loads what they wrote."""

import pytest
import torch
from torch import nn

from edgenet.compress import compress_
from edgenet.pretrained import in_transformers, teach_transformers
from edgenet.structured import Kronecker, LowRank

PLAN = {"a": {"structure": "low_rank", "rank": 2}, "cell.weight_hh": {"structure": "kronecker", "factor": (2, 2)}}


class Body(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.a, self.cell, self.norm = nn.Linear(width, width), nn.GRUCell(width, 4), nn.BatchNorm1d(4)

    def forward(self, x):
        return self.norm(self.cell(self.a(x)))


@pytest.mark.filterwarnings("ignore")  # Lightning's own, of loaders and loggers
def test_lightning_trains_a_compressed_model_and_loads_its_checkpoint(tmp_path):
    lightning = pytest.importorskip("lightning", reason="lightning is not installed")

    class Trained(lightning.LightningModule):
        def __init__(self, width=6, compressed=False):
            super().__init__()
            self.save_hyperparameters("width")
            self.body = Body(width)
            if compressed:
                compress_(self.body, PLAN)

        def training_step(self, batch, _):
            return self.body(batch).square().mean()

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 0.01)

    model, data = Trained(compressed=True), torch.utils.data.DataLoader(torch.randn(8, 6), batch_size=4)
    options = dict(
        accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False, default_root_dir=tmp_path,
    )  # fmt: skip
    trainer = lightning.Trainer(max_epochs=1, **options)
    trainer.fit(model, data)
    trainer.save_checkpoint(tmp_path / "last.ckpt")
    x = torch.randn(3, 6)
    again = Trained.load_from_checkpoint(tmp_path / "last.ckpt")
    assert isinstance(again.body.a.weight, LowRank)
    assert torch.equal(again.eval().body(x), model.eval().body(x))
    resumed = Trained()
    lightning.Trainer(max_epochs=2, **options).fit(resumed, data, ckpt_path=tmp_path / "last.ckpt")
    assert isinstance(resumed.body.a.weight, LowRank)
    assert not torch.equal(resumed.body.a.weight.left, model.body.a.weight.left), "the new parameters are trained"


@pytest.mark.filterwarnings("ignore")  # transformers' own
@pytest.mark.parametrize("form", ["files", "state"])
def test_transformers_loads_what_a_compressed_model_of_its_own_wrote(form, tmp_path, monkeypatch):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    untaught = transformers.PreTrainedModel._load_pretrained_model
    monkeypatch.setattr(transformers.PreTrainedModel, "_load_pretrained_model", staticmethod(untaught))

    class Config(transformers.PretrainedConfig):
        model_type = "of_a_test"

    class Model(transformers.PreTrainedModel):
        config_class = Config

        def __init__(self, config):
            super().__init__(config)
            self.body = Body()
            self.post_init()

        def forward(self, x):
            return self.body(x)

    model, x = Model(Config()).eval(), torch.randn(3, 6)
    compress_(model, {f"body.{name}": spec for name, spec in PLAN.items()})
    model.save_pretrained(tmp_path)
    teach_transformers()
    teach_transformers()
    taught = transformers.PreTrainedModel._load_pretrained_model
    assert taught.taught_by == in_transformers.__name__ and taught.__wrapped__ is untaught, "taught once"
    given = {"state_dict": model.state_dict(), "config": model.config} if form == "state" else {}
    name = None if form == "state" else tmp_path
    again, told = Model.from_pretrained(name, output_loading_info=True, **given)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert isinstance(again.body.a.weight, LowRank)
    assert isinstance(again.body.cell.parametrizations.weight_hh[0].matrix, Kronecker)
    assert torch.equal(again(x), model(x))
