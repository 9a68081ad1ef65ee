"""The trunk's first weights: MobileNetV2 of a detector trained on Open Images.

    python -m training.pretrained --out runs/trunk.safetensors

Google's MediaPipe gives the detector away under Apache-2.0 in the npm package
`@mediapipe/objectron` (SSD MobileNetV2, Open Images V4, float16, TensorFlow Lite). It is
fetched from the npm registry, checked against a hash, and its trunk written in the names and
the normalisation of `streamtrack.tracking.mobile_trunk`.
"""

import argparse
import hashlib
import io
import tarfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import tflite
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from streamtrack.tracking.mobile_trunk import MobileTrunk
from training.rollout import MEAN, STD

URL = "https://registry.npmjs.org/@mediapipe/objectron/-/objectron-0.4.1675468480.tgz"
MEMBER = "package/objectron_solution_packed_assets.data"
SPAN = slice(184, 9_987_912)
"""Where the model lies in that file, as its loader says."""
SHA256 = "d0a5255bf8c4f5a0bc4240741a76c41d5e939f7655078f945f50ab53a9375da6"
"""Of the model."""


def fetch(url: str = URL) -> bytes:
    """Return the detector as it is given away, a .tflite file of 10 MB.

    Raises:
        ValueError: what came is not the file expected.
    """
    with urllib.request.urlopen(url, timeout=60) as answer:
        packed = io.BytesIO(answer.read())
    with tarfile.open(fileobj=packed) as archive:
        member = archive.extractfile(MEMBER)
        if member is None:
            raise ValueError(f"{url} holds no {MEMBER}; give the package's address.")
        content = member.read()[SPAN]
    found = hashlib.sha256(content).hexdigest()
    if found != SHA256:
        raise ValueError(f"The detector in {url} has the hash {found}; expected {SHA256}.")
    return content


def convolutions(content: bytes) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
    """Yield the weights and biases of a .tflite file's convolutions, in order.

    Yields:
        (out, in / groups, k, k) and (out,), as torch lays them out.
    """
    model = tflite.Model.GetRootAsModel(content, 0)
    graph = model.Subgraphs(0)
    stored: dict[int, int] = {}  # float32 tensors that are made from float16 ones
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        kind = model.OperatorCodes(operator.OpcodeIndex()).BuiltinCode()
        if kind == tflite.BuiltinOperator.DEQUANTIZE:
            stored[operator.Outputs(0)] = operator.Inputs(0)
        elif kind in (tflite.BuiltinOperator.CONV_2D, tflite.BuiltinOperator.DEPTHWISE_CONV_2D):
            weight, bias = (_values(model, stored[operator.Inputs(n)]) for n in (1, 2))
            deep = kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D
            yield weight.transpose((3, 0, 1, 2) if deep else (0, 3, 1, 2)), bias


def _values(model: tflite.Model, index: int) -> NDArray[np.float32]:
    """Return a float16 tensor of the model as float32."""
    tensor = model.Subgraphs(0).Tensors(index)
    raw = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
    return np.frombuffer(raw, np.float16).astype(np.float32).reshape(tensor.ShapeAsNumpy())


def trunk_weights(content: bytes) -> dict[str, Tensor]:
    """Return the state dict of a `MobileTrunk` with the detector's weights.

    Raises:
        ValueError: the file holds another network.
    """
    trunk = MobileTrunk()
    found = convolutions(content)
    for name, conv in trunk.named_modules():
        if not isinstance(conv, nn.Conv2d):
            continue
        for weight, bias in found:  # those of the detector's heads lie between and do not fit
            if weight.shape == conv.weight.shape:
                conv.weight.data = torch.from_numpy(np.ascontiguousarray(weight))
                conv.bias = nn.Parameter(torch.from_numpy(bias.copy()))
                break
        else:
            raise ValueError(f"The file has no convolution for {name}; give the right network.")
    _take_normalised(trunk.stem[0])
    return trunk.state_dict()


def _take_normalised(stem: nn.Module) -> None:
    """Make a stem for pictures in [-1, 1] take those normalised as SAM 2 does."""
    assert isinstance(stem, nn.Conv2d) and stem.bias is not None
    mean, std = torch.tensor(MEAN), torch.tensor(STD)  # x in [-1, 1] is 2 std n + 2 mean - 1
    stem.bias.data += (stem.weight.data.sum((2, 3)) * (2 * mean - 1)).sum(1)
    stem.weight.data *= (2 * std)[:, None, None]


def main() -> None:
    """Fetch the detector and write its trunk."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("runs/trunk.safetensors"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    save_file(trunk_weights(fetch()), str(options.out), {"source": URL})


if __name__ == "__main__":
    main()
