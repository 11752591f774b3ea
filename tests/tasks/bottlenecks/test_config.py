"""Sizes of networks and cuts, bits by hand, controls at equal bits, and what is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings, strategies as st
from narrow_cases import narrow, small

from tasks.bottlenecks import config as configs, task
from tasks.bottlenecks.config import (
    BottleneckConfig,
    count_bits_of_channel,
    count_channels,
    find_side,
)
from tasks.bottlenecks.controls import (
    draw_cuts,
    find_uniform_widths,
    list_controls,
    read_accuracy,
)
from tasks.bottlenecks.narrowing import list_widths, read_width
from tasks.bottlenecks.task import count_bits
from tasks.runs.configuration import require_sound


class TestSizes:
    @pytest.mark.parametrize(
        ("make", "parameters"),
        [
            (configs.paper, 11_173_962),  # of the public ResNet-18, -34, -50 for CIFAR-10
            (configs.paper_34, 21_282_122),
            (configs.paper_50, 23_520_842),
        ],
    )
    def test_of_the_paper_are_those_of_its_networks(
        self, make: object, parameters: int
    ) -> None:
        with torch.device("meta"):
            model = task.build(make())  # type: ignore[operator]
        assert sum(p.numel() for p in model.parameters()) == parameters

    def test_of_what_crosses_behind_the_stages_of_the_paper(self) -> None:
        """64 x 32 x 32, 128 x 16 x 16, 256 x 8 x 8 and 512 x 4 x 4 values."""
        config = configs.paper()
        values = [
            (count_channels(config, k), find_side(config, 32, k)) for k in (0, 2, 4, 6, 8)
        ]
        assert values == [(64, 32), (64, 32), (128, 16), (256, 8), (512, 4)]
        assert count_channels(configs.paper_50(), 3) == 256

    @pytest.mark.parametrize(
        ("link", "bits"), [("float", 32), ("8bit", 8), ("4bit", 4), ("spikes", 1)]
    )
    def test_bits_of_a_channel(self, link: str, bits: int) -> None:
        config = narrow(link, (2, 1))  # type: ignore[arg-type]
        assert count_bits_of_channel(config, 28, 2) == 2 * 14 * 14 * bits
        assert count_bits(narrow(link, (1, 3), (2, 2))) == 2 * bits * (  # type: ignore[arg-type]
            3 * 28 * 28 + 2 * 14 * 14
        )

    def test_of_the_embedded_digits(self) -> None:
        """Wider blocks learn from all of them, the quick ones from 1,000."""
        sizes = {
            make: [
                len(task.read_images(make(), split).labels)
                for split in ("train", "val", "test")
            ]
            for make in (configs.tiny, configs.digits)
        }
        assert sizes == {configs.tiny: [1000, 100, 500], configs.digits: [3500, 500, 1000]}

    def test_an_example_of_the_literature(self) -> None:
        """A 64th of the channels behind stage 3 of ResNet-18 in 4 bits: 1,024 bits."""
        boundary = configs.BoundaryConfig(after=(6,), widths=(4,), link="4bit")
        assert count_bits(replace(configs.paper(), narrow=boundary)) == 1024


class TestWidths:
    def test_are_read(self) -> None:
        config = small(channels=(8, 16))
        assert read_width("4", config, (1, 2)) == (4, 4)
        assert read_width("1/4", config, (1, 2)) == (2, 4)
        assert read_width("1/99", config, (1, 2)) == (1, 1)
        assert list_widths(config, (1, 2)) == [(8, 16), (4, 8), (2, 4), (1, 2), (1, 1)]

    @pytest.mark.parametrize("text", ["", "x", "-1", "1/0", "1/x", "1.5", "1/2/3"])
    def test_without_sense_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="is no width; write channels as 4"):
            read_width(text, small(), (1,))

    @pytest.mark.parametrize("text", ["0", "9", "3/1"])
    def test_of_more_than_a_cut_has_are_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match="of 4 channels of a cut; give at least 1"):
            read_width(text, small(), (1,))


class TestControls:
    @settings(max_examples=20)
    @given(st.integers(1, 4), st.integers(1, 6), st.integers(0, 9))
    def test_have_no_more_bits(self, first: int, second: int, seed: int) -> None:
        config = narrow("4bit", (1, first), (2, second), teacher="folder")
        config = replace(config, blocks=(1, 2))
        bits = count_bits(config)
        for name, control in list_controls(config, seed).items():
            require_sound(control)
            assert count_bits(control) <= bits, name

    def test_change_what_they_are_named_after(self) -> None:
        config = replace(narrow("4bit", (1, 2), (2, 6), gates="folder"), blocks=(1, 2))
        controls = list_controls(config)
        assert controls["no distillation"].narrow.soft == 0
        assert controls["pruning"].narrow.begin == "channels"
        assert controls["pruning"].narrow.widths == (2, 6)
        uniform = controls["uniform widths"].narrow
        assert uniform.widths == (2, 4)  # two thirds of each; three quarters do not fit
        assert {c.narrow.gates for c in controls.values()} == {""}
        scratch = controls["from scratch"].narrow
        assert (scratch.begin, scratch.teacher, scratch.widths) == ("random", "", (2, 6))

    def test_random_cuts_take_every_place(self) -> None:
        config = small(blocks=(2, 2))
        config = replace(config, narrow=replace(config.narrow, link="spikes"))
        full, small_image = 2 * 28 * 28, 2 * 14 * 14  # a channel over two ticks
        drawn = {draw_cuts(config, 1, full, seed) for seed in range(60)}
        assert drawn == {(k,) for k in range(4)}
        drawn = {draw_cuts(config, 1, full - 1, seed) for seed in range(60)}
        assert drawn == {(3,)}  # in the second stage
        everywhere = 3 * full + small_image
        assert draw_cuts(config, 4, everywhere, 0) == (0, 1, 2, 3)
        for cuts, bits in ((4, everywhere - 1), (5, 10**6), (0, 10**6)):
            with pytest.raises(ValueError, match=f"{cuts} cuts: none of the 4 places"):
                draw_cuts(config, cuts, bits, 0)

    def test_too_few_bits(self) -> None:
        with pytest.raises(ValueError, match="a channel at each of the cuts"):
            find_uniform_widths(narrow("8bit", (1, 1)), (0, 1), 20_000)

    def test_accuracies_are_read_between_points_of_a_curve(self) -> None:
        curve = [(400.0, 0.9), (100.0, 0.5)]
        assert read_accuracy(curve, 200.0) == pytest.approx(0.7)
        assert read_accuracy(curve, 400.0) == pytest.approx(0.9)
        with pytest.raises(ValueError, match="100 to 400 bits, not 99"):
            read_accuracy(curve, 99.0)


def refuse(config: BottleneckConfig) -> list[str]:
    with pytest.raises(ValueError, match="cannot be used") as caught:
        task.build(config)
    return str(caught.value).splitlines()[1:]


class TestRefusals:
    def test_all_at_once(self) -> None:
        boundary = configs.BoundaryConfig(after=(2, 1, 7), widths=(9, 5), penalty=1.0)
        problems = refuse(small(narrow=boundary))
        assert [p.split(":")[0].split(";")[0] for p in problems] == [
            "narrow.after has 3 cuts and narrow.widths 2 widths",
            "narrow.after is (2, 1, 7)",
            "narrow.widths",
            "narrow.widths",
            "narrow.penalty is 1.0",
        ]

    def test_of_cuts_that_do_not_exist(self) -> None:
        assert refuse(narrow("float", (3, 1))) == [
            "narrow.after: no cut behind block 3; there are 0 to 2"
        ]

    def test_of_widths_that_a_cut_does_not_have(self) -> None:
        """The first cut, so that none has been looked at before; the second has all it can."""
        boundary = narrow("float", (1, 4), (2, 5))
        assert refuse(replace(boundary, channels=(3, 5))) == [
            "narrow.widths: 4 channels behind block 1, which has 3; give 1 to 3"
        ]

    def test_of_the_twin_without_spikes(self) -> None:
        (problem,) = refuse(small(cells="relu"))
        assert problem.startswith("ticks is 2 and code is rate; they must be 1 and direct")
        twin = replace(narrow("spikes", (1, 1)), cells="relu", ticks=1, code="direct")
        (problem,) = refuse(twin)
        assert problem.startswith('narrow.link is "spikes"; it must be another for cells')

    def test_of_prices(self) -> None:
        (problem,) = refuse(narrow("4bit", (1, 1), price="aer", penalty=1.0))
        assert problem.startswith('narrow.price is "aer"; it must be "bitmap"')
        (problem,) = refuse(narrow("spikes", (1, 1), penalty=1.0))
        assert problem.startswith(
            "narrow.penalty is 1.0; it must be 0 where there are no gates"
        )
        require_sound(narrow("spikes", (1, 1), price="aer", penalty=1.0))

    def test_of_pruning_nothing(self) -> None:
        (problem,) = refuse(narrow("float", (1, 1), begin="channels"))
        assert problem.startswith('narrow.begin is "channels"; it must be another')

    def test_of_stages(self) -> None:
        (problem,) = refuse(small(channels=(3,)))
        assert problem.endswith("give both for each stage")
