"""Explains why a Graph has no node for a torch function, each reason with its cure."""

import os
from types import FrameType

MOVE_OUT = "move it out of the module and give its output as the stimulus"
ENCODES = f"it makes a stimulus; {MOVE_OUT}"
READS = (
    "reads a value that depends on the stimulus, so what runs next may differ from input to "
    "input; compute with tensors, and print or measure outside of forward"
)
COMPARISONS = frozenset({"lt", "le", "gt", "ge", "__lt__", "__le__", "__gt__", "__ge__"})
RANDOM = frozenset(
    {
        *("rand", "randn", "randint", "randperm", "rand_like", "randn_like", "randint_like"),
        *("bernoulli", "bernoulli_", "normal", "normal_", "poisson", "multinomial"),
        *("uniform_", "exponential_", "random_", "geometric_", "cauchy_", "log_normal_"),
    }
)
_CURES = {
    **dict.fromkeys(
        ("layer_norm", "group_norm", "instance_norm", "rms_norm"),
        " (its scale depends on the sample); use BatchNorm1d or BatchNorm2d, and train with it",
    ),
    **dict.fromkeys(
        [
            f"{kind}{end}"
            for kind in ("gru", "lstm", "rnn_tanh", "rnn_relu")
            for end in ("", "_cell")
        ],
        " (recurrent, without spikes); use a recurrent spiking neuron, or " + MOVE_OUT,
    ),
    **dict.fromkeys(
        ("gelu", "elu", "selu", "celu", "leaky_relu", "prelu", "softplus", "mish", "hardtanh"),
        "; use relu, sigmoid, tanh or silu, and train with it",
    ),
}
_CURE = f"; use linear, convolution, pooling or pointwise layers, or {MOVE_OUT}"


def explain_function(name: str) -> str:
    """Explain why a torch function has no node, with the cure."""
    if name in RANDOM:
        return f"draws at random, and a Graph does not; {MOVE_OUT}"
    return f"has no node in a Graph{_CURES.get(name, _CURE)}"


def find_encoder(frame: FrameType | None) -> str:
    """Explain that snnTorch's encoders run in ``frame``; "" if none does."""
    name = ""
    while frame is not None:
        if frame.f_code.co_filename.endswith(os.path.join("snntorch", "spikegen.py")):
            name = frame.f_code.co_name  # the outermost is what the user calls
        frame = frame.f_back
    return name and f"spikegen.{name}() codes values as spikes in forward; {MOVE_OUT}"
