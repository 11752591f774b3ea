"""The same code with threads, with processes and on a local Ray."""

import sys
from contextlib import suppress

import joblib
import pytest
from graphs import random_graph, stimulus
from joblib._parallel_backends import ThreadingBackend
from joblib.parallel import get_active_backend

from neuro.events import simulate
from neuro.graph import Graph
from neuro.io.pytree import digest
from neuro.spikes import Events
from tasks.measures.cluster import use_cluster


@pytest.fixture(scope="module")
def case() -> tuple[Graph, dict[str, Events]]:
    graph = random_graph(11)
    return graph, stimulus(graph, 11, samples=7)


@pytest.fixture(scope="module")
def alone(case: tuple[Graph, dict[str, Events]]) -> str:
    return digest(simulate(*case))


@pytest.mark.parametrize("workers", [1, 2, 3, 7, 20])
def test_any_number_of_workers_returns_the_same_bits(
    case: tuple[Graph, dict[str, Events]], alone: str, workers: int
) -> None:
    assert digest(simulate(*case, workers=workers)) == alone


def test_a_state_is_split_over_workers_and_joined_again(
    case: tuple[Graph, dict[str, Events]],
) -> None:
    _, state = simulate(*case)
    both = [digest(simulate(*case, state=state, workers=n)) for n in (1, 3)]
    assert both[0] == both[1]


@pytest.mark.slow
def test_processes_return_the_same_bits(
    case: tuple[Graph, dict[str, Events]], alone: str
) -> None:
    with joblib.parallel_config("loky"):
        assert digest(simulate(*case, workers=2)) == alone


@pytest.mark.nightly
def test_a_local_ray_returns_the_same_bits_and_is_gone_afterwards(
    case: tuple[Graph, dict[str, Events]], alone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    with use_cluster("local"):
        assert ray.is_initialized()
        assert digest(simulate(*case, workers=2)) == alone
    assert not ray.is_initialized()


@pytest.mark.parametrize("fails", [False, True])
def test_a_cluster_gets_the_samples_and_is_left_also_after_an_error(
    monkeypatch: pytest.MonkeyPatch, fails: bool
) -> None:
    """Nothing of Ray is started: `make nightly` runs a real one."""
    ray = pytest.importorskip("ray")
    pytest.importorskip("ray.util.joblib")
    asked: list[object] = []
    monkeypatch.setattr(ray, "init", lambda **options: asked.append(options))
    monkeypatch.setattr(ray, "shutdown", lambda: asked.append("shut down"))
    monkeypatch.setattr(
        "ray.util.joblib.register_ray",
        lambda: joblib.register_parallel_backend("ray", ThreadingBackend),
    )
    with suppress(KeyError), use_cluster("host:1"):
        backend, _ = get_active_backend()
        asked.append(type(backend))
        if fails:
            raise KeyError
    options = {"address": "host:1", "include_dashboard": False, "log_to_driver": False}
    assert asked == [options, ThreadingBackend, "shut down"]


def test_a_cluster_that_does_not_answer_is_told_with_its_address(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ray = pytest.importorskip("ray")

    def refuse(**_: object) -> None:
        raise ValueError("Invalid address format: no such host")

    monkeypatch.setattr(ray, "init", refuse)
    told = "--cluster no such host: Invalid address format: .*; give the address that ray start"
    with pytest.raises(ConnectionError, match=told), use_cluster("no such host"):
        pass


def test_without_an_address_the_threads_of_this_machine_work(
    case: tuple[Graph, dict[str, Events]], alone: str
) -> None:
    with use_cluster(""):
        assert digest(simulate(*case, workers=2)) == alone


def test_a_cluster_without_ray_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with (
        pytest.raises(RuntimeError, match="--cluster auto needs Ray on every machine") as e,
        use_cluster("auto"),
    ):
        pass
    assert "; pip install -e '.[cluster]' in a clone of neuro brings it" in str(e.value)
