"""The part of ``edgenet bench quantised`` on a network that others have trained: EfficientNet-Lite0 in few bits.

Nothing is trained. Statistics of batch norms are estimated on crops of one half of the images, and the other half is
scored; then the other way round.
"""

from __future__ import annotations

import copy
import re
import tempfile
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from statistics import fmean, median
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgenet.bench.harness import report
from edgenet.bench.harness.jobs import run_all
from edgenet.bench.harness.kept import kept
from edgenet.bench.results.quantised_images import CALIBRATION, CROPS, Images, images, network
from edgenet.compress import compress_, recalibrate_, slots
from edgenet.compress.compress import relative_error
from edgenet.convert import kept as left_out
from edgenet.convert import quantise
from edgenet.pretrained import save_pretrained
from edgenet.text import markdown_table

BATCH = 10  # images at a time
#: where outputs are compared: the stem, every block, the head and the scores
STAGES = ("_conv_stem", *(f"_blocks.{k}" for k in range(16)), "_conv_head", "_fc")
_FLOAT = "float32"
LIMITS = (
    "**Twenty images rank nothing.** One image is five points, and crops of one image are not independent. The table "
    "tells what breaks and what does not; differences of a few points between rows mean nothing. Published accuracies "
    "on the 50,000 validation images of ImageNet cannot be reproduced here.",
    "Low rank and unified blocks lose about half of the norm of the weights, and want training, of which there is none "
    "here.",
)
#: the results of every network, one a draw of crops
Found = dict[str, list[dict[str, Any]]]


def _low_rank(model: nn.Module) -> nn.Module:
    """Every layer but depthwise kernels in the largest rank that halves its numbers."""
    model, left = copy.deepcopy(model), left_out(model, "int8")
    ranks = {
        name: max(1, slot.shape[0] * slot.shape[1] // (2 * sum(slot.shape)))
        for name, slot in slots(model).items()
        if name not in left
    }
    compress_(model, {f"{re.escape(name)}$": {"structure": "low_rank", "rank": rank} for name, rank in ranks.items()})
    return model


#: what is measured, and what makes it of the float network
NETWORKS: dict[str, Callable[[nn.Module], nn.Module]] = {
    _FLOAT: copy.deepcopy,
    "int8": partial(quantise, form="int8"),
    "int8, depthwise kernels too": partial(
        quantise, form="int8", plan={r".*_depthwise_conv": {"structure": "uniform", "bits": 8, "per": "row"}}
    ),
    "int4": partial(quantise, form="int4"),
    "powers of two, 5 bits": partial(quantise, form="deepshift_q", bits=5),
    "powers of two, 4 bits": partial(quantise, form="deepshift_q", bits=4),
    "low rank, half the numbers": _low_rank,
    "unified, all blocks": partial(quantise, form="unified"),
    "unified, 80% of blocks, 8 bits": partial(quantise, form="unified", ratio=0.8, bits=8),
}


def results(seeds: int, runs: Path, processes: int, data_root: Path | None) -> Found:
    """Every form on every draw of crops.

    Args:
        seeds: draws of crops.
        runs: folder of results, which are not computed again.
        processes: at a time.
        data_root: not read; the images are a package's.

    Raises:
        ConfigError: if a package is not installed.
    """
    network()  # before hours of work
    jobs = [(name, seed, runs / "pretrained") for name in NETWORKS for seed in range(seeds)]
    found = run_all(jobs, processes, measured)
    return {name: found[place * seeds : (place + 1) * seeds] for place, name in enumerate(NETWORKS)}


def settings() -> dict[str, Any]:
    """Crops of every image, to score and to calibrate by."""
    return {"crops": CROPS, "calibration": CALIBRATION, "networks": list(NETWORKS)}


def claim(rows: Found) -> str:
    """What was found: how often each form says what the float network says, as rounded and with statistics moved."""
    whole = rows[_FLOAT][0]["bytes"]
    said = [
        f"{name} {100 * fmean(one['plain']['agree_crops'] for one in found):.1f} % as rounded, "
        f"{100 * fmean(one['moved']['agree_crops'] for one in found):.1f} % with statistics moved, "
        f"{whole / found[0]['bytes']:.1f} times smaller"
        for name, found in rows.items()
        if name in ("int8", "int4")
    ]
    text = "Rounded without training, EfficientNet-Lite0 gives crops the class of the float network"
    return f"{text}: {'; '.join(said)}."


def parts(rows: Found) -> list[str]:
    """The table of all forms, and that of the errors along the network."""
    seeds = len(rows[_FLOAT])
    return [
        f"EfficientNet-Lite0: 4.65 million weights, trained by others on ImageNet and rounded here without any "
        f"training, by one call of `edgenet.convert.quantise`. What is scored: the 20 labelled images that foolbox "
        f"ships, and {20 * CROPS} synthetic crops of them, {CROPS} an image, with pixels from -1 to 1. Depthwise "
        f"kernels stay floats where nothing else is said; the first and the last layer are rounded. `recalibrate_` "
        f"sees {10 * CALIBRATION} other crops of ten images, and the other ten images are scored; then the other way "
        f"round. Nothing that is scored is seen before.",
        f"Agreement is with the float network: how often both say the same top class. Means over {seeds} draws of "
        f"crops, ± their sample standard deviation. Statistics of batch norms are those of the float network (as "
        f"rounded), of the crops alone, or of the float network moved by what both see differently on these crops "
        f"(`recalibrate_(..., reference=...)`); the columns that follow are of the last. So few images are no sample "
        f"of ImageNet, so that their own statistics spoil even the float network. Bytes are those of "
        f"`model.safetensors`. Errors of weights are ||W - W'|| / ||W||, over the layers that changed.",
        _table(rows),
        "Error of what comes out, ||y - y'|| / ||y||, over the 20 images, with statistics moved:",
        _stage_table(rows),
    ]


def measured(job: tuple[str, int, Path]) -> dict[str, Any]:
    """One network on one draw of crops, JSON-able; what its file holds already is not computed again."""
    name, seed, folder = job
    file = folder / f"{re.sub(r'[^a-z0-9]+', '-', name)}-{seed}.json"
    settings = {"network": name, "seed": seed, "crops": CROPS, "calibration": CALIBRATION}
    return kept(file, settings, lambda: _measured(name, seed))


@torch.no_grad()
def _measured(name: str, seed: int) -> dict[str, Any]:
    shown, (reference, seen) = _images(seed), _reference(seed)
    model = NETWORKS[name](network()).eval()
    everything = torch.arange(len(shown.whole))
    plain = _outputs(model, shown, everything)
    alone, moved = ([torch.empty_like(part) for part in reference] for _ in range(2))
    stages: dict[str, list[float]] = {stage: [0.0, 0.0] for stage in STAGES}
    for scored in everything.view(2, -1):
        other = everything[~torch.isin(everything, scored)]
        crops = [shown.calibration[other, k] for k in range(CALIBRATION)]
        calibrated = copy.deepcopy(model)
        for scores, before in ((alone, None), (moved, network())):
            recalibrate_(calibrated, crops, reference=before)
            for part, own in zip(scores, _outputs(calibrated, shown, scored), strict=True):
                part[scored] = own
        for stage, output in _stages(calibrated, shown.whole[scored]).items():
            stages[stage][0] += float((output - seen[stage][scored]).double().square().sum())
            stages[stage][1] += float(seen[stage][scored].double().square().sum())
    return {
        "bytes": _bytes(model),
        "weight_errors": _weight_errors(model),
        "stage_errors": {stage: (lost / size) ** 0.5 for stage, (lost, size) in stages.items()},
        "plain": _scores(plain, reference, shown.classes),
        "alone": _scores(alone, reference, shown.classes),
        "moved": _scores(moved, reference, shown.classes),
        "measured": report.settings(),
    }


@cache
def _images(seed: int) -> Images:
    return images(seed)


@cache
@torch.no_grad()
def _reference(seed: int) -> tuple[list[Tensor], dict[str, Tensor]]:
    """What the float network says, and what comes out of its stages."""
    model, shown = network(), _images(seed)
    return _outputs(model, shown, torch.arange(len(shown.whole))), _stages(model, shown.whole)


def _outputs(model: nn.Module, shown: Images, chosen: Tensor) -> list[Tensor]:
    """The scores of images, (n, 1000), and of their crops, (n, 10, 1000)."""
    crops = shown.crops[chosen].flatten(0, 1)
    whole, cropped = (torch.cat([model(some) for some in all_.split(BATCH)]) for all_ in (shown.whole[chosen], crops))
    return [whole, cropped.unflatten(0, (len(chosen), CROPS))]


def _stages(model: nn.Module, x: Tensor) -> dict[str, Tensor]:
    """What comes out of every stage."""
    found: dict[str, list[Tensor]] = {stage: [] for stage in STAGES}

    def keep(stage: str) -> Callable[..., None]:
        return lambda module, given, output: found[stage].append(output)

    handles = [model.get_submodule(stage).register_forward_hook(keep(stage)) for stage in STAGES]
    try:
        for some in x.split(BATCH):
            model(some)
    finally:
        for handle in handles:
            handle.remove()
    return {stage: torch.cat(outputs) for stage, outputs in found.items()}


def _scores(own: list[Tensor], reference: list[Tensor], classes: Tensor) -> dict[str, float]:
    whole, crops = own
    same = [(mine.argmax(-1) == its.argmax(-1)).double() for mine, its in zip(own, reference, strict=True)]
    return {
        "top1": int((whole.argmax(1) == classes).sum()),
        "top5": int((whole.topk(5).indices == classes[:, None]).any(1).sum()),
        "agree_images": int(same[0].sum()),
        "agree_crops": float(same[1].mean()),
        "cosine": float(F.cosine_similarity(crops.double(), reference[1].double(), -1).mean()),
    }


def _weight_errors(model: nn.Module) -> dict[str, float]:
    """Of the layers that changed."""
    before = slots(network())
    errors = {name: relative_error(before[name].weight(), slot.weight()) for name, slot in slots(model).items()}
    return {name: error for name, error in errors.items() if error > 0}


def _bytes(model: nn.Module) -> int:
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder)
        return (Path(folder) / "model.safetensors").stat().st_size


def _table(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    header = (
        "weights", "bytes", "times smaller", "agree on crops, as rounded", "statistics of the crops", "moved",
        "cosine of scores", "agree on 20 images", "top 1 of 20", "top 5 of 20", "error of weights: median, largest",
    )  # fmt: skip
    whole, body = rows[_FLOAT][0]["bytes"], []
    for name, found in rows.items():
        after, errors = [one["moved"] for one in found], list(found[0]["weight_errors"].values())
        body.append(
            (
                name,
                f"{found[0]['bytes']:,}",
                f"{whole / found[0]['bytes']:.1f}",
                *(
                    f"{report.spread([one[key]['agree_crops'] for one in found])} %"
                    for key in ("plain", "alone", "moved")
                ),
                f"{fmean(one['cosine'] for one in after):.3f}",
                *(f"{fmean(one[key] for one in after):.3g}" for key in ("agree_images", "top1", "top5")),
                f"{median(errors):.3f}, {max(errors):.3f}" if errors else "",
            )
        )
    return markdown_table(header, body)


def _stage_table(rows: Mapping[str, list[dict[str, Any]]]) -> str:
    body = [
        (_named(stage), *(f"{fmean(one['stage_errors'][stage] for one in found):.3f}" for found in rows.values()))
        for stage in STAGES
    ]
    return markdown_table(("after", *rows), body)


def _named(stage: str) -> str:
    names = {"_conv_stem": "first convolution", "_conv_head": "last convolution", "_fc": "scores"}
    return names.get(stage) or f"block {int(stage.rpartition('.')[2]) + 1}"
