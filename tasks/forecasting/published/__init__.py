"""The published networks that tell spectrograms before a seizure from others."""

from tasks.forecasting.published.cnn_lstm import ConvolutionalLSTM
from tasks.forecasting.published.mvit import MultichannelTransformer

__all__ = ["ConvolutionalLSTM", "MultichannelTransformer"]
