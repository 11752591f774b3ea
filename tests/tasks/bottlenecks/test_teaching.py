"""The loss of a narrow network, and the weights at which its training begins."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings, strategies as st
from narrow_cases import build_alive, draw_digits, narrow, small, take

from neuro.io.run_folder import RunError
from tasks.bottlenecks import task, teaching
from tasks.bottlenecks.boundary import copy_original
from tasks.bottlenecks.teaching import compute_loss, distil, find_fronts, watch_outputs


class TestDistillation:
    @settings(max_examples=20)
    @given(st.integers(0, 1000), st.sampled_from([0.5, 1.0, 4.0]))
    def test_is_that_of_its_definition(self, seed: int, temperature: float) -> None:
        rng = torch.Generator().manual_seed(seed)
        own, teacher = torch.randn(2, 3, 5, generator=rng).double()
        p, q = (F.softmax(s / temperature, 1) for s in (teacher, own))
        expected = temperature**2 * (p * (p / q).log()).sum(1).mean()
        assert float(distil(own, teacher, temperature)) == pytest.approx(float(expected))

    def test_has_no_gradient_where_own_answers_are_the_teachers(self) -> None:
        own = torch.randn(4, 10).double().requires_grad_()
        distil(own, own.detach(), 4.0).backward()
        assert own.grad is not None
        assert float(own.grad.abs().max()) < 1e-12


class TestLoss:
    def test_of_an_identity_has_no_gradient_but_that_of_the_labels(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Own = teacher: neither its answers nor what crosses pulls at any weight."""
        original = build_alive(small())
        monkeypatch.setattr(teaching, "load_run_model", lambda *_: original)
        config = narrow("float", (1, 4), teacher="somewhere", soft=1.0)
        model = task.build(config).eval()
        copy_original(model, original)
        with torch.no_grad():
            for name in ("compress", "expand"):
                conv = dict(take(model, "narrow1").named_children())[name]
                conv.weight.copy_(torch.eye(4)[:, :, None, None])  # type: ignore[operator]
                conv.bias.zero_()  # type: ignore[operator]
        x, labels = next(task.batches(config, "train", 0))
        loss = compute_loss(config, 28, model, x, labels)
        loss.backward()
        assert float(loss.detach()) == pytest.approx(0, abs=1e-6)
        largest = max(
            float(p.grad.abs().max()) for p in model.parameters() if p.grad is not None
        )
        assert largest < 1e-6

    def test_sums_its_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        original = build_alive(small())
        monkeypatch.setattr(teaching, "load_run_model", lambda *_: original)
        words = {"soft": 0.25, "temperature": 2.0, "features": 3.0}
        config = narrow("float", (1, 2), teacher="somewhere", **words)
        model = build_alive(config)
        x, labels = next(task.batches(config, "train", 0))
        with torch.no_grad():
            fronts = {"narrow1": take(model, "narrow1")}
            with watch_outputs(fronts) as arrived:
                own = model(x)[0].mean(0)
            with watch_outputs(find_fronts(original, ["narrow1"])) as sent:
                target = original(x)[0].mean(0)
            expected = 0.75 * F.cross_entropy(own, labels) + 0.25 * distil(own, target, 2.0)
            expected = expected + 3 * F.mse_loss(arrived["narrow1"], sent["narrow1"])
            assert float(compute_loss(config, 28, model, x, labels)) == pytest.approx(
                float(expected), rel=1e-5
            )

    def test_without_a_teacher_is_that_of_the_labels(self) -> None:
        config = narrow("spikes", (1, 2))
        model = build_alive(config)
        x, labels = next(task.batches(config, "train", 0))
        with torch.no_grad():
            expected = F.cross_entropy(model(x)[0].mean(0), labels)
            assert float(compute_loss(config, 28, model, x, labels)) == pytest.approx(
                float(expected)
            )

    def test_hooks_do_not_stay(self) -> None:
        config = narrow("float", (1, 2))
        model = build_alive(config)
        x, labels = next(task.batches(config, "train", 0))
        compute_loss(config, 28, model, x, labels)
        assert not any(m._forward_hooks for m in model.modules())


def test_a_training_begins_with_the_original_and_the_closed_form(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    original = build_alive(small())
    monkeypatch.setattr(teaching, "load_run_model", lambda *_: original)
    config = narrow("float", (1, 4), teacher="somewhere")
    model = task.build(config)
    task.begin(config, model)
    x = draw_digits(config, "test")
    with torch.no_grad():  # of all channels: the same up to rounding, so the same spikes
        torch.testing.assert_close(model.eval()(x)[0], original(x)[0], atol=1e-3, rtol=0)
    random = narrow("float", (1, 4), teacher="somewhere", begin="random")
    fresh = {k: v.clone() for k, v in model.state_dict().items()}
    task.begin(random, model)
    assert all(torch.equal(v, fresh[k]) for k, v in model.state_dict().items())


def test_a_teacher_that_is_gone_is_named(tmp_path: Path) -> None:
    config = narrow("float", (1, 2), teacher=str(tmp_path / "gone"))
    with pytest.raises(RunError, match="gone is no run"):
        task.begin(config, task.build(config))
