"""One encoder: key frames on demand, bitrates that follow, sizes that change."""

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from streamtrack.media import encoder as module
from streamtrack.media.encoder import Encoded, Encoder, EncoderSettings
from tests.patterns import noise_planes

X264 = EncoderSettings(encoder="x264")


def encoded(encoder: Encoder, index: int, *, key: bool = False, size: int = 320) -> Encoded:
    one = encoder.encode(noise_planes(index, size), 9 * (333 * index + 1), key=key)
    assert one is not None
    return one


def decoded(pictures: list[Encoded]) -> list[NDArray[np.uint8]]:
    codec = av.CodecContext.create("h264", "r")
    frames = [frame for one in pictures for frame in codec.decode(av.Packet(one.data))]
    frames += codec.decode(None)
    return [frame.to_ndarray(format="gray") for frame in frames]


def test_the_first_picture_and_every_one_asked_for_is_a_key_frame_with_its_timestamp() -> None:
    encoder = Encoder(X264, 30.0)
    pictures = [encoded(encoder, index, key=index == 7) for index in range(12)]
    assert [one.key for one in pictures] == [index in (0, 7) for index in range(12)]
    assert [one.pts90 for one in pictures] == [9 * (333 * index + 1) for index in range(12)]
    assert len(decoded(pictures)) == 12, "nothing is kept back"
    late = decoded(pictures[7:])
    assert len(late) == 5, "a decoder can begin at the key frame"
    wanted = noise_planes(11, 320)[:180]
    assert np.abs(late[-1].astype(int) - wanted).mean() < 12


def test_the_bitrate_follows_without_a_key_frame_and_within_its_bounds() -> None:
    settings = EncoderSettings(2_000_000, 200_000, 2_500_000, "x264")
    encoder = Encoder(settings, 30.0)
    before = [encoded(encoder, index, size=640) for index in range(40)]
    assert not encoder.retarget(2_050_000), "near enough"
    assert encoder.retarget(400_000)
    after = [encoded(encoder, index, size=640) for index in range(40, 100)]
    assert not any(one.key for one in after)
    bits = [8 * 30 * np.mean([len(one.data) for one in some]) for some in (before[5:], after[25:])]
    assert bits[1] < 0.5 * bits[0] and bits[1] < 650_000, bits
    encoder.retarget(1)
    assert encoder.bitrate_bps == 200_000
    encoder.retarget(9e9)
    assert encoder.bitrate_bps == 2_500_000


def test_another_size_or_pace_begins_anew_with_a_key_frame() -> None:
    encoder = Encoder(X264, 30.0)
    first = [encoded(encoder, index) for index in range(3)]
    assert encoded(encoder, 3, size=640).key and not encoded(encoder, 4, size=640).key
    assert not encoder.repace(25.0) and not encoder.repace(0.0)
    assert encoder.repace(10.0)
    assert encoded(encoder, 5, size=640).key and first[0].key


def test_a_key_frame_fits_into_a_hundred_packets() -> None:
    encoder = Encoder(EncoderSettings(6_000_000, encoder="x264"), 30.0)
    pictures = [encoded(encoder, index, key=index == 20, size=1280) for index in range(21)]
    assert 8 * len(pictures[-1].data) < 1.5 * module.KEY_FRAME_BITS


def test_the_encoder_of_the_gpu_is_taken_only_where_it_opens(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "nvenc_opens", lambda: False)
    encoder = Encoder(EncoderSettings(encoder="auto"), 30.0)
    assert encoded(encoder, 0).key and encoder.codec == "libx264"
