"""Plans and predicted vehicles in the format of nuScenes' prediction challenge.

The devkit evaluates lists of ``Prediction``. Each has an instance, a sample, modes, and their
probabilities; a mode is a list of (x, y) in the global frame [m], 0.5 s apart. ``neuro eval``
writes

    predictions.json         the vehicles that the challenge asks about, one mode per vehicle
    plans.json               the planned path as one mode; its instance is "ego"
    candidates.json          the 25 most probable candidate paths, as modes
    prediction_config.json   the devkit's metrics over our frames, for its ``--config_name``

The challenge asks for 6 s; we predict for as long as the run does, 3 s. Decoded instances and
annotated vehicles are matched one to one if their middles in the present frame are at most 2 m
apart. The predicted position is the mean of the instance's cells. A vehicle without an
instance, or whose instance is lost before the last frame, has no prediction. The probabilities
of candidates are the soft-max of their negative costs. nuScenes does not annotate the car
itself, so the devkit has no future of it; :class:`EgoHelper` supplies it.
Axes: T = 1 + F present and future frames, F future frames, I instances, X and Y cells.
"""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int
from nuscenes.eval.prediction.compute_metrics import compute_metrics
from nuscenes.eval.prediction.config import PredictionConfig
from nuscenes.eval.prediction.data_classes import MAX_NUMBER_OF_MODES, Prediction
from nuscenes.eval.prediction.metrics import MinADEK, MinFDEK, MissRateTopK, RowMean
from nuscenes.prediction import PredictHelper
from nuscenes.prediction.models.physics import ConstantVelocityHeading
from scipy.optimize import linear_sum_assignment

from drivers.nuscenes.check.challenges import PREDICTION
from drivers.nuscenes.geometry import enter_frame, flatten, leave_frame
from drivers.nuscenes.grid import GroundGrid
from drivers.nuscenes.problem import NuScenesError, Problem
from drivers.nuscenes.reading import are_strings, read_json
from drivers.nuscenes.schema import LIDAR
from drivers.nuscenes.tables import Tables
from drivers.nuscenes.window import FRAME
from drivers.nuscenes.windows import Windows, WindowSpan
from neuro.io.store import write_bytes
from tasks.driving.config import DrivingConfig
from tasks.driving.instances import OF_INSTANCES, decode_window
from tasks.driving.model import DrivingOutputs, Planned
from tasks.runs.task import Table

EGO = "ego"  # instance of plans
MATCH = 2.0  # [m] as in the devkit's errors of true positives
MODES = (1, 5, 10)  # as in the challenge
DIGITS = 6  # of positions [m]
Serialised = dict[str, Any]  # a Prediction


def find_middles(
    instance: Int[np.ndarray, "T X Y"], grid: GroundGrid
) -> Float[np.ndarray, "I T 2"]:
    """Return the middle [m], in every frame, of each instance of the first frame.

    The middle is NaN in frames without the instance.
    """
    centres, numbers = grid.centres(), np.unique(instance[0][instance[0] > 0])
    middles = np.full((len(numbers), len(instance), 2), np.nan)
    for i, number in enumerate(numbers):
        for t, frame in enumerate(instance):
            if (cells := frame == number).any():
                middles[i, t] = centres[cells].mean(0)
    return middles


def match_middles(
    predicted: Float[np.ndarray, "I 2"], true: Float[np.ndarray, "J 2"]
) -> dict[int, int]:
    """Return the index in ``predicted`` of each matched index in ``true``, one to one.

    The matching has the largest possible number of pairs at most :data:`MATCH` apart.
    """
    distance = np.linalg.norm(predicted[:, None] - true[None], axis=-1)
    # One cost for all pairs beyond MATCH: with their distance they could displace close pairs.
    rows, columns = linear_sum_assignment(np.where(distance > MATCH, 1e3, distance))
    pairs = zip(rows.tolist(), columns.tolist(), strict=True)
    return {j: i for i, j in pairs if distance[i, j] <= MATCH}


def read_questions(
    root: Path, scenes: frozenset[str], helper: PredictHelper
) -> dict[str, list[str]] | None:
    """Return the instances that the challenge asks about in ``scenes``, by sample.

    Returns None if the data set in ``root`` has no questions.

    Raises:
        NuScenesError: the file is damaged, or asks about an instance without an annotation.
    """
    path = root / PREDICTION
    if not path.is_file():
        return None
    try:
        by_scene = read_json(path)
        if not isinstance(by_scene, dict) or not all(map(are_strings, by_scene.values())):
            raise ValueError("is no object with a list of questions for each scene")
    except ValueError as error:
        raise NuScenesError([_problem(str(error))]) from None
    questions: dict[str, list[str]] = {}
    problems = []
    for scene in sorted(scenes & set(by_scene)):
        for question in by_scene[scene]:
            instance, _, sample = question.rpartition("_")
            if (sample, instance) not in helper.inst_sample_to_ann:
                problems.append(_problem(f"{question} is not annotated", scene))
            questions.setdefault(sample, []).append(instance)
    if problems:
        raise NuScenesError(problems)
    return questions


def _problem(what: str, scene: str = "") -> Problem:
    cure = "unpack the map expansion again"
    return Problem(table=str(PREDICTION), token=scene, what=what, cure=cure)


class EgoHelper:
    """Supplies the car's future to the devkit's ``compute_metrics`` of plans.

    It replaces the devkit's ``PredictHelper``.
    """

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def get_future_for_agent(
        self,
        instance: str,
        sample: str,
        seconds: float | int,
        in_agent_frame: bool,
    ) -> Float[np.ndarray, "F 2"]:
        """Return the next positions of the car (x, y) [m] in the global frame.

        Raises:
            ValueError: the instance is not "ego", or ``in_agent_frame`` is set.
        """
        if instance != EGO or in_agent_frame:
            raise ValueError(f"EgoHelper: only {EGO!r} in the global frame, got {instance!r}")
        token, found = sample, []
        for _ in range(round(seconds / FRAME)):
            token = self.tables.get("sample", token)["next"]
            shot = self.tables.read_keyframe(token, (LIDAR,)).shots[LIDAR]
            found.append(flatten(shot.ego)[:2])
        return np.array(found)


def make_metrics(frames: int) -> PredictionConfig:
    """Return the challenge's metrics over ``frames``, except the drivable-area metric.

    The drivable-area metric loads all four nuScenes maps, which generated data do not have.
    """
    kinds = (MinADEK, MinFDEK, MissRateTopK)
    metrics = [kind(list(MODES), [RowMean()]) for kind in kinds]
    return PredictionConfig(metrics, seconds=frames * FRAME)


class Submission:
    """Collects the predictions of the test windows, in the order of the windows.

    Raises:
        NuScenesError: the file of questions is damaged.
    """

    def __init__(self, config: DrivingConfig, windows: Windows) -> None:
        self.config, self.windows = config, windows
        self.metrics = make_metrics(config.last.futures)
        self.helper = PredictHelper(windows.tables.nuscenes)
        scenes = frozenset(span.scene for span in windows.spans)
        self.questions = read_questions(windows.tables.root, scenes, self.helper)
        self.asked = self.near = self.short = self.done = 0
        self.vehicles: list[Serialised] = []
        self.plans: list[Serialised] = []
        self.candidates: list[Serialised] = []

    def add(self, outputs: DrivingOutputs) -> None:
        """Add the predictions of the next batch."""
        for b in range(len(outputs.maps["vehicle"])):
            span = self.windows.spans[self.done]
            if self.questions is not None and set(OF_INSTANCES) <= set(outputs.maps):
                self._add_vehicles(span, decode_window(outputs.maps, b))
            if outputs.plan is not None:
                self._add_plan(span, outputs.plan, b)
            self.done += 1

    def _add_vehicles(self, span: WindowSpan, instance: Int[np.ndarray, "T X Y"]) -> None:
        grid, frames = self.config.grid, self.config.last.futures
        sample, pose = self._find_present(span)
        boxes = [b for b in self.windows.tables.read_boxes(sample) if b.is_vehicle]
        places = np.array([(b.x, b.y, b.yaw) for b in boxes]).reshape(-1, 3)
        true = enter_frame(places, pose)[:, :2]
        middles = find_middles(instance[: frames + 1], grid)
        matched = match_middles(middles[:, 0], true)
        inside = (grid.cells(true) >= 0) & (grid.cells(true) < grid.shape)
        on_grid = np.asarray(inside.all(1))
        index = {b.instance: j for j, b in enumerate(boxes)}
        for asked in (self.questions or {}).get(sample, ()):
            truth = self.helper.get_future_for_agent(
                asked, sample, self.metrics.seconds, in_agent_frame=False
            )
            if len(truth) != frames:
                self.short += 1
                continue
            self.asked += 1
            j = index.get(asked, -1)
            self.near += j >= 0 and bool(on_grid[j])
            if j in matched and not np.isnan(way := middles[matched[j], 1:]).any():
                self.vehicles.append(self._serialise(asked, span, way[None], np.ones(1)))

    def _add_plan(self, span: WindowSpan, plan: Planned, b: int) -> None:
        path = plan.path[b, None, :, :2].double().cpu().numpy()
        self.plans.append(self._serialise(EGO, span, path, np.ones(1)))
        costs = plan.costs.total[b].double()
        shares = (-self.config.planner.sharpness * costs).softmax(0).cpu().numpy()
        best = np.argsort(-shares, kind="stable")[:MAX_NUMBER_OF_MODES]
        paths = plan.candidates[b, :, :, :2].double().cpu().numpy()
        self.candidates.append(self._serialise(EGO, span, paths[best], shares[best]))

    def _serialise(
        self,
        instance: str,
        span: WindowSpan,
        modes: Float[np.ndarray, "M F 2"],
        probabilities: Float[np.ndarray, " M"],
    ) -> Serialised:
        """Return a prediction; ``modes`` are positions in the present ego frame [m]."""
        sample, pose = self._find_present(span)
        headed = np.concatenate([modes, np.zeros((*modes.shape[:2], 1))], -1)
        places = leave_frame(headed, pose)[..., :2].round(DIGITS)
        row: Serialised = Prediction(instance, sample, places, probabilities).serialize()
        return row

    def _find_present(self, span: WindowSpan) -> tuple[str, Float[np.ndarray, "3"]]:
        now = self.config.past - 1
        return span.tokens[now], span.poses[now]

    def measure(self) -> dict[str, dict[str, Any]]:
        """Return the devkit's metrics of each kind of prediction that is not empty."""
        keep_velocity = ConstantVelocityHeading(self.metrics.seconds, self.helper)
        plain = [
            keep_velocity(f"{row['instance']}_{row['sample']}").serialize()
            for row in self.vehicles
        ]
        ego = EgoHelper(self.windows.tables)
        found: dict[str, dict[str, Any]] = {}
        for name, predictions, helper in (
            ("vehicles", self.vehicles, self.helper),
            ("the same, constant velocity", plain, self.helper),
            ("plan", self.plans, ego),
            ("candidates of the plan", self.candidates, ego),
        ):
            if predictions:
                metrics = compute_metrics(predictions, helper, self.metrics)
                values = {k: list(of["RowMean"]) for k, of in metrics.items()}
                found[name] = {"predictions": len(predictions), **values}
        return found

    def write(self, folder: Path) -> None:
        """Write the files into a run folder; plans and candidates only if the run plans."""
        files: dict[str, Any] = {"prediction_config": self.metrics.serialize()}
        if self.questions is not None:
            files["predictions"] = self.vehicles
        if self.plans:
            files |= {"plans": self.plans, "candidates": self.candidates}
        for name, content in files.items():
            write_bytes(folder / f"{name}.json", json.dumps(content).encode())

    def tabulate(self, folder: Path, found: Mapping[str, Mapping[str, Any]]) -> Table:
        """Return the results of :meth:`measure` as a table; the caption has the command."""
        rows = []
        for name, values in found.items():
            single = name in ("vehicles", "the same, constant velocity", "plan")
            errors = [values["MinADEK"], values["MinFDEK"], values["MissRateTopK_2.0"]]
            shown = [[f"{x:.2f}" for x in (e[:1] if single else e)] for e in errors]
            rows.append([name, values["predictions"], *(" / ".join(e) for e in shown)])
        tables = self.windows.tables
        command = shlex.join(
            [
                *("python", "-m", "nuscenes.eval.prediction.compute_metrics"),
                *("--version", tables.version, "--data_root", str(tables.root)),
                *("--submission_path", str(folder / "predictions.json")),
                *("--config_name", str((folder / "prediction_config.json").resolve())),
            ]
        )
        if self.questions is None:
            note = f"{tables.root / PREDICTION} is missing: unpack the map expansion."
        else:
            note = (
                f"The challenge asks about {self.asked} vehicles here, {self.near} of them on "
                f"the grid; {self.short} more have no true way of this length. The devkit's "
                f"own evaluation: {command}"
            )
        return Table(
            title=f"Prediction challenge, {self.metrics.seconds:g} s instead of 6 s",
            head=("of", "predictions", "minADE [m]", "minFDE [m]", "miss rate"),
            rows=rows,
            caption=f"Of 1, 5 and 10 modes where there are several. {note}",
        )
