"""The published network at full size: shapes, parameters, MACs by hand; rows on their own."""

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from neuro.base.seeds import seeded
from tasks.forecasting.published import ConvolutionalLSTM


def count(part: nn.Module) -> int:
    return sum(p.numel() for p in part.parameters())


def count_macs(model: nn.Module, *shape: int) -> tuple[torch.Size, int]:
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        out = model.eval()(torch.zeros(shape, device="meta"))
    return out.shape, counter.get_total_flops() // 2


def test_the_lstm_network_has_the_published_sizes() -> None:
    with torch.device("meta"):
        model = ConvolutionalLSTM()
    shapes, x = [], torch.zeros(2, 1, 22, 59, 114, device="meta")
    for layer in model.convolutions:
        x = layer(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes[1] == (16, 12, 28, 55)
    assert shapes[3] == (16, 6, 14, 27)
    assert shapes[5] == (32, 4, 12, 25)
    assert shapes[7] == (32, 1, 5, 12)
    assert model.steps * model.features == 1920  # the published features of a window
    assert (model.steps, model.features) == (5, 384)
    first, second = 16 * (11 * 5 * 5) + 16, 32 * 16 * 27 + 32
    assert count(model.convolutions) == 2 + first + 32 + second == 18_306
    layers = [4 * 512 * (n + 512) + 2 * 4 * 512 for n in (384, 512, 512)]
    assert count(model.lstm) == sum(layers) == 6_041_600
    assert count(model.classify) == 512 * 256 + 256 + 256 * 2 + 2 == 131_842
    # As released, the first layer of the LSTM takes 1920 features in the place of 384.
    assert count(nn.LSTM(1920, 512, 3, device="meta")) == sum(layers) + 4 * 512 * 1536


def test_the_lstm_network_multiplies_as_often_as_by_hand() -> None:
    with torch.device("meta"):
        model = ConvolutionalLSTM()
    shape, macs = count_macs(model, 1, 1, 22, 59, 114)
    assert shape == (1, 2)
    first = 16 * (12 * 28 * 55) * (11 * 5 * 5)
    second = 32 * (4 * 12 * 25) * (16 * 27)
    assert first + second == 97_900_800
    steps = 5 * 4 * 512 * (384 + 5 * 512)
    assert macs == first + second + steps + 512 * 256 + 256 * 2 == 128_178_944


@pytest.mark.parametrize(
    ("channels", "features"), [(9, 384), (15, 384), (16, 384), (18, 384), (24, 384), (64, 2304)]
)
def test_every_montage_has_its_own_number_of_features(channels: int, features: int) -> None:
    """As released, 15 and 16 channels stop with an error, and 24 at a number written there."""
    with torch.device("meta"):
        model = ConvolutionalLSTM(channels)
        out = model(torch.zeros(2, 1, channels, 59, 114))
    assert out.shape == (2, 2)
    assert (model.steps, model.features) == (5, features)


def test_no_row_of_a_batch_changes_the_answer_to_another() -> None:
    """As released, the LSTM runs along the batch: a row's answer depends on those before it."""
    with seeded(0):
        model = ConvolutionalLSTM(9, 39, 23).double().eval()
    x = 30 * torch.randn(5, 1, 9, 39, 23, dtype=torch.float64)
    with torch.no_grad():
        whole = model(x)
        other = model(torch.cat([torch.randn_like(x[:3]), x[3:]]))
        alone, moved = model(x[3:4]), model(x.flip(0))
    assert torch.allclose(other[3:], whole[3:], rtol=0, atol=1e-12)
    assert torch.allclose(alone, whole[3:4], rtol=0, atol=1e-12)
    assert torch.allclose(moved.flip(0), whole, rtol=0, atol=1e-12)
    assert (whole[0] - whole[1]).abs().max() > 1e-7


def test_the_lstm_runs_along_time() -> None:
    with seeded(0):
        model = ConvolutionalLSTM(9, 59, 23).eval()
    seen: list[torch.Size] = []
    model.lstm.register_forward_pre_hook(lambda _, args: seen.append(args[0].shape))
    x = torch.randn(2, 1, 9, 59, 23)
    with torch.no_grad():
        steps = model.convolutions(x)
        later = x.clone()
        later[..., -20:, :] += 1  # the last frames
        change = (model.convolutions(later) - steps).abs().amax((0, 1, 2, 4))
        model(x)
    assert seen == [(2, 5, model.features)]
    assert change[:3].max() == 0
    assert change[-1] > 0


def test_a_spectrogram_of_which_nothing_is_left_is_refused() -> None:
    with pytest.raises(ValueError, match="22 channels, 4 frames and 114 bins: give at least"):
        ConvolutionalLSTM(22, 4, 114)
