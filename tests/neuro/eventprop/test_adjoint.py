from collections.abc import Callable

import numpy as np
import pytest
from exact_networks import DT, T, changed, drawn, network, one_neuron, times
from hypothesis import assume, given, settings, strategies as st

from neuro.eventprop import Activity, Gradients, compute_activity, compute_gradients
from neuro.graph import Graph
from neuro.spikes import Times

SEEDS = st.integers(0, 10**6)


def value(done: Activity, pull: np.ndarray, level: np.ndarray) -> float:
    """Return a loss on the time of every output spike and on every mean of the read-out."""
    out = done.times["out"].time
    return float(
        (np.resize(pull, out.size) * out).sum() / DT + (level * done.means["read"]).sum()
    )


def order(done: Activity) -> list[int]:
    """Return the order of all spikes, arrivals and ends of ticks, and who fired.

    While it stays the same, the loss has all derivatives.
    """
    trains = done.times.values()
    moments = np.concatenate([t.time + d * DT for t in trains for d in range(4)])
    sample = np.concatenate([np.tile(t.sample, 4) for t in trains])
    neuron = np.concatenate([t.neuron for t in trains])
    return [*np.lexsort((moments, sample)), *np.floor(moments / DT).astype(int), *neuron]


def slope(run: Callable[[int], Activity], asked: tuple[np.ndarray, np.ndarray]) -> float:
    """Return the central difference of fourth order, of steps 1; none across a kink."""
    done = {k: run(k) for k in (-2, -1, 0, 1, 2)}
    assume(all(order(d) == order(done[0]) for d in done.values()))
    at = {k: value(d, *asked) for k, d in done.items()}
    return (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / 12


def asked_of(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    return rng.normal(size=7), rng.normal(size=(T, 2, 2))


def found(
    graph: Graph, done: Activity, asked: tuple[np.ndarray, np.ndarray], least: float = 0.0
) -> Gradients:
    by_time = {"out": np.resize(asked[0], done.times["out"].time.size) / DT}
    return compute_gradients(
        graph, done.times, by_time=by_time, by_mean={"read": asked[1]}, least=least
    )


def differentiable(graph: Graph, x: Times, asked: tuple[np.ndarray, np.ndarray]) -> Gradients:
    """Return the gradients; no example where a spike grazes, and differences would be wrong."""
    done = compute_activity(graph, {"input": x})
    assume(found(graph, done, asked, least=0.02).raised == 0)
    out = found(graph, done, asked)
    assert out.raised == 0
    assert out.spikes == done.times["hidden"].time.size + done.times["out"].time.size
    return out


@pytest.mark.slow
@given(seed=SEEDS, ratio=st.one_of(st.floats(0.1, 5.0), st.just(1.0), st.just(0.5)))
def test_gradients_by_weight_equal_central_differences(seed: int, ratio: float) -> None:
    rng = np.random.default_rng(seed)
    graph, x, asked = network(seed, ratio), drawn(rng, 2, 3), asked_of(rng)
    by_weight = differentiable(graph, x, asked).weights
    assert set(by_weight) == {"fc1", "fc2", "skip", "fc3"}
    for name, by in by_weight.items():
        at = tuple(rng.integers(0, by.shape))
        step = 1e-5
        central = slope(
            lambda k: compute_activity(changed(graph, name, at, k * step), {"input": x}),  # noqa: B023
            asked,
        )
        assert abs(central / step - by[at]) <= 1e-6 * np.abs(by).max(), name


@settings(max_examples=10)
@given(seed=SEEDS)
def test_gradients_by_input_time_equal_central_differences(seed: int) -> None:
    rng = np.random.default_rng(seed)
    graph, x, asked = network(seed), drawn(rng, 2, 3), asked_of(rng)
    by = differentiable(graph, x, asked).times["input"]
    k, step = rng.integers(x.time.size), 1e-7

    def later(n: int) -> Times:
        time = x.time.copy()
        time[k] += n * step
        return x._replace(time=time)

    central = slope(lambda n: compute_activity(graph, {"input": later(n)}), asked)
    assert abs(central / step - by[k]) <= 1e-6 * np.abs(by).max()


def test_the_networks_of_these_tests_fire_more_than_once() -> None:
    fired = [
        compute_activity(
            network(seed), {"input": drawn(np.random.default_rng(seed), 2, 3)}
        ).times
        for seed in range(20)
    ]
    for name, least in (("hidden", 2.0), ("out", 1.5)):
        assert np.mean([t[name].time.size / t[name].shape[2] / 2 for t in fired]) > least


def test_samples_do_not_touch_each_other() -> None:
    rng = np.random.default_rng(3)
    graph, x, asked = network(3), drawn(rng, 2, 3), asked_of(rng)
    both = found(graph, compute_activity(graph, {"input": x}), asked)
    alone = []
    for b in range(2):
        some = np.flatnonzero(x.sample == b)
        one = Times(0 * x.sample[some], x.time[some], x.neuron[some], x.value[some], (T, 1, 3))
        done = compute_activity(graph, {"input": one})
        out = compute_activity(graph, {"input": x}).times["out"]
        by_time = (np.resize(asked[0], out.time.size) / DT)[out.sample == b]
        alone.append(
            compute_gradients(
                graph,
                done.times,
                by_time={"out": by_time},
                by_mean={"read": asked[1][:, b : b + 1]},
                least=0.0,
            )
        )
    for name, by in both.weights.items():
        np.testing.assert_allclose(
            by, alone[0].weights[name] + alone[1].weights[name], rtol=1e-12, atol=1e-12
        )


def test_one_spike_has_the_derivative_of_its_closed_form() -> None:
    """tau = 2 tau_syn: with x = exp(-t / tau), (x - x^2) w / (a - c) = 1."""
    tau, weight = 0.01, 0.5
    graph = one_neuron(weight, tau=tau, tau_syn=tau / 2)
    scale = weight / (np.exp(-DT / tau) - np.exp(-2 * DT / tau))
    root = np.sqrt(0.25 - 1 / scale)
    x = 0.5 + root
    done = compute_activity(graph, {"input": times([(0.002, 0)], size=1)}).times
    time = done["out"].time
    assert time[0] == pytest.approx(0.002 - tau * np.log(x), abs=1e-15)
    by_time = np.zeros(time.size)
    by_time[0] = 1.0
    by = compute_gradients(graph, done, by_time={"out": by_time}).weights["fc"][0, 0]
    dx = 1 / (2 * root) / scale / weight  # of x by the weight
    assert by == pytest.approx(-tau / x * dx, rel=1e-12)


def test_a_grazing_spike_is_counted_and_its_gradient_bounded() -> None:
    tau = 0.01
    top = 0.25 / (np.exp(-DT / tau) - np.exp(-2 * DT / tau))  # highest V of a unit weight
    x = {"input": times([(0.002, 0)], size=1)}
    by = {}
    for over in (1e-3, 1e-9):
        graph = one_neuron((1 + over) / top, tau=tau, tau_syn=tau / 2)
        done = compute_activity(graph, x).times
        assert done["out"].time.size == 1
        result = compute_gradients(graph, done, by_time={"out": np.ones(1)}, least=1e-3)
        exact = compute_gradients(graph, done, by_time={"out": np.ones(1)})
        by[over] = result.weights["fc"] / exact.weights["fc"]
        assert result.raised == (over == 1e-9)
        assert exact.raised == 0
    assert by[1e-3] == 1.0
    assert by[1e-9] < 0.1


def test_what_never_fires_has_no_gradient() -> None:
    graph = one_neuron(0.01, tau=0.01, tau_syn=0.005)
    done = compute_activity(graph, {"input": times([(0.002, 0)], [], size=1)}).times
    assert done["out"].time.size == 0
    result = compute_gradients(graph, done, by_time={"out": np.zeros(0)})
    assert result.weights["fc"].tolist() == [[0.0]]
    assert result.spikes == 0


def test_derivatives_by_what_is_not_there_are_refused_all_at_once() -> None:
    graph = network(0)
    done = compute_activity(graph, {"input": drawn(np.random.default_rng(0), 2, 3)}).times
    with pytest.raises(ValueError, match="derivatives do not fit") as e:
        compute_gradients(
            graph,
            done,
            by_time={"read": np.ones(3), "out": np.ones(1)},
            by_mean={"out": np.ones((T, 2, 2)), "read": np.ones((T, 3, 2))},
        )
    assert str(e.value).splitlines()[1:] == [
        "by_time read: needs one value for each spike of an Input or LIF",
        "by_time out: needs one value for each spike of an Input or LIF",
        "by_mean out: needs axes T B N of a read-out (LI)",
        "by_mean read: needs axes T B N of a read-out (LI)",
    ]


def test_inputs_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"input: .*neurons"):
        compute_activity(network(0), {"input": times([(0.001, 0)], size=2)})
