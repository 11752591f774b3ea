"""The official devkit reads a written data set, and its evaluations run on it."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from pyquaternion import Quaternion
from straight_road import make_scene, make_straight_road, plan_scene

pytest.importorskip("nuscenes")

from nuscenes import NuScenes
from nuscenes.can_bus.can_bus_api import NuScenesCanBus
from nuscenes.eval.common.config import config_factory
from nuscenes.eval.detection.evaluate import DetectionEval
from nuscenes.eval.detection.utils import category_to_detection_name
from nuscenes.eval.lidarseg.evaluate import LidarSegEval
from nuscenes.eval.panoptic.evaluate import NuScenesPanopticEval
from nuscenes.eval.prediction.compute_metrics import compute_metrics
from nuscenes.eval.prediction.config import PredictionConfig
from nuscenes.eval.prediction.data_classes import Prediction
from nuscenes.eval.prediction.metrics import MinADEK, RowMean
from nuscenes.eval.prediction.splits import get_prediction_challenge_split
from nuscenes.eval.tracking.evaluate import TrackingEval
from nuscenes.map_expansion.map_api import NuScenesMap
from nuscenes.prediction import PredictHelper
from nuscenes.utils.data_classes import LidarPointCloud
from nuscenes.utils.geometry_utils import points_in_box, view_points
from nuscenes.utils.splits import create_splits_scenes

from drivers.nuscenes.world.render import ground
from drivers.nuscenes.world.rig import make_rig
from drivers.nuscenes.world.write import Version, write_nuscenes

META = dict.fromkeys(("use_camera", "use_lidar", "use_radar", "use_map", "use_external"), False)
VERSION: Version = "v1.0-mini"
LOCATION = "boston-seaport"  # of the fifth scene, too


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Nine scenes, too short for anything, and one of the split "mini_val"; with sweeps."""
    root = tmp_path_factory.mktemp("nuscenes")
    places = [make_straight_road() for _ in range(4)]
    scenes = [
        replace(make_scene(15 if k == 4 else 2), road_map=places[k % 4]) for k in range(10)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ground, "MARGIN", 25.0)  # less to paint
        planned = [plan_scene(scene) for scene in scenes]
        write_nuscenes(root, planned, version=VERSION, rig=make_rig(32, 18), sweeps=1)
    return root / "data"


@pytest.fixture(scope="module")
def devkit(root: Path) -> NuScenes:
    return NuScenes(VERSION, str(root), verbose=False)


@pytest.fixture(scope="module")
def drive(devkit: NuScenes) -> dict[str, Any]:
    return next(scene for scene in devkit.scene if scene["nbr_samples"] == 15)


def samples_of(devkit: NuScenes, scene: dict[str, Any]) -> Iterator[dict[str, Any]]:
    token = scene["first_sample_token"]
    while token:
        sample = devkit.get("sample", token)
        yield sample
        token = sample["next"]


@pytest.fixture(scope="module")
def judged(devkit: NuScenes) -> list[dict[str, Any]]:
    """The samples of the two scenes of "mini_val"."""
    scenes = [s for s in devkit.scene if s["name"] in create_splits_scenes()["mini_val"]]
    assert len(scenes) == 2
    return [sample for scene in scenes for sample in samples_of(devkit, scene)]


@pytest.mark.slow
def test_all_samples_of_a_scene_hold_seven_sensors_in_order(
    devkit: NuScenes, drive: dict[str, Any]
) -> None:
    samples = list(samples_of(devkit, drive))
    assert len(samples) == 15
    assert samples[-1]["token"] == drive["last_sample_token"]
    assert {len(sample["data"]) for sample in samples} == {7}
    assert set(np.diff([sample["timestamp"] for sample in samples])) == {500_000}


def test_a_sweep_comes_before_each_keyframe_of_a_camera_but_the_first(
    devkit: NuScenes, drive: dict[str, Any]
) -> None:
    first, *others = samples_of(devkit, drive)
    row = devkit.get("sample_data", first["data"]["CAM_BACK"])
    start = devkit.get("ego_pose", row["ego_pose_token"])["translation"][0]
    found = []
    while row["next"]:
        row = devkit.get("sample_data", row["next"])
        pose = devkit.get("ego_pose", row["ego_pose_token"])
        assert (row["channel"], pose["timestamp"]) == ("CAM_BACK", row["timestamp"])
        time = (row["timestamp"] - first["timestamp"]) / 1e6
        assert pose["translation"][0] == pytest.approx(start + 8 * time, abs=1e-3)  # 8 m/s
        assert matplotlib.image.imread(devkit.get_sample_data_path(row["token"])).any()
        found.append((time, row["is_key_frame"], row["sample_token"]))
    expected = []
    for k, sample in enumerate(others, 1):
        told = sample["token"]
        expected += [(k / 2 - 0.1, False, told), (k / 2, True, told)]
    assert found == [(pytest.approx(time), *rest) for time, *rest in expected]
    lidar = devkit.get("sample_data", first["data"]["LIDAR_TOP"])
    assert devkit.get("sample_data", lidar["next"])["is_key_frame"]


def test_a_box_projects_to_where_its_pixels_are(
    devkit: NuScenes, drive: dict[str, Any]
) -> None:
    """The lead car drives 14 m ahead in the lane: it is in the middle of the front image."""
    sample = devkit.get("sample", drive["first_sample_token"])
    path, boxes, intrinsic = devkit.get_sample_data(sample["data"]["CAM_FRONT"])
    lead = next(box for box in boxes if box.name == "vehicle.car")
    middle = view_points(lead.center[:, None], intrinsic, normalize=True)[:2, 0]
    assert middle == pytest.approx([16.0, 9.0 + 25.32 * 0.7 / 16.3], abs=0.01)
    assert matplotlib.image.imread(path).shape == (18, 32, 3)


def test_boxes_hold_the_lidar_points_that_the_annotation_tells(
    devkit: NuScenes, drive: dict[str, Any]
) -> None:
    told, found = [], []
    for sample in samples_of(devkit, drive):
        token = sample["data"]["LIDAR_TOP"]
        path, boxes, _ = devkit.get_sample_data(token)
        cloud = LidarPointCloud.from_file(path).points[:3]
        told += [devkit.get("sample_annotation", b.token)["num_lidar_pts"] for b in boxes]
        found += [int(points_in_box(box, cloud).sum()) for box in boxes]
    assert told == found
    assert sum(told) > 500


def test_velocities_are_those_of_the_boxes(devkit: NuScenes, drive: dict[str, Any]) -> None:
    sample = devkit.get("sample", devkit.get("sample", drive["first_sample_token"])["next"])
    speeds = {
        devkit.get("sample_annotation", token)["category_name"]: devkit.box_velocity(token)
        for token in sample["anns"]
    }
    assert speeds["vehicle.bus.rigid"] == pytest.approx([-8, 0, 0], abs=0.01)
    assert speeds["movable_object.trafficcone"] == pytest.approx([0, 0, 0], abs=1e-9)


def test_the_map_has_all_layers_where_the_road_is(root: Path, devkit: NuScenes) -> None:
    api = NuScenesMap(str(root), LOCATION)
    pose = devkit.get("ego_pose", devkit.sample_data[6]["ego_pose_token"])
    x, y, _ = pose["translation"]
    layers = api.layers_on_point(x, y)
    assert all(layers[name] for name in ("drivable_area", "lane", "road_segment"))
    lane = api.get_closest_lane(x, y, radius=2)
    assert layers["lane"] == lane
    line = np.array(api.discretize_lanes([lane], 0.5)[lane])
    assert np.abs(line[:, 1] - y).max() < 1e-3
    (after,) = api.get_outgoing_lane_ids(lane)
    assert api.get_incoming_lane_ids(after) == [lane]
    assert api.get_next_roads(x, y)["lane"] == [after]
    stops = api.stop_line
    assert [len(stop["cue"]) for stop in stops] == [1] * len(stops)
    names = ["drivable_area", "ped_crossing", "walkway", "stop_line"]
    masks = api.get_map_mask((x, y, 40, 40), 0, names, (400, 400))
    shares = masks.mean(axis=(1, 2))
    road = make_straight_road()
    assert shares[0] == pytest.approx(14 / 40, abs=0.01)
    assert shares[1] == 0  # the crossing is 30 m ahead
    assert shares[2] == pytest.approx(8 / 40, abs=0.01)
    assert len(road.crossings) == len(api.ped_crossing)


def test_the_ego_drives_on_the_image_of_the_map(
    devkit: NuScenes, drive: dict[str, Any]
) -> None:
    mask = devkit.get("map", devkit.get("log", drive["log_token"])["map_token"])["mask"]
    poses = [
        devkit.get("ego_pose", sample["data"]["LIDAR_TOP"])["translation"]
        for sample in samples_of(devkit, drive)
    ]
    x, y, _ = np.array(poses).T
    assert mask.is_on_mask(x, y).all()
    assert not mask.is_on_mask(x, y - 12).any()


def test_the_can_bus_tells_how_the_ego_moves(root: Path, drive: dict[str, Any]) -> None:
    bus = NuScenesCanBus(str(root))
    route, pose = bus.get_pose_and_route(drive["name"])
    assert pose.shape == (351, 2)
    assert np.abs(np.diff(pose[:, 0]) - 8 / 50).max() < 1e-3
    assert np.abs(route[0] - pose[0]).max() < 1e-3
    monitor = bus.get_messages(drive["name"], "vehicle_monitor")
    assert {row["vehicle_speed"] for row in monitor} == {28.8}
    assert bus.get_messages(drive["name"], "meta")["pose"]["message_freq"] == 50


def write_results(
    path: Path, devkit: NuScenes, judged: list[dict[str, Any]], tracking: bool
) -> list[str]:
    """Write the truth as somebody's results; return the classes in it."""
    results: dict[str, list[dict[str, Any]]] = {}
    names = set()
    for sample in judged:
        results[sample["token"]] = []
        for token in sample["anns"]:
            row = devkit.get("sample_annotation", token)
            name = category_to_detection_name(row["category_name"])
            if not row["num_lidar_pts"]:  # left out of the truth, too
                continue
            names.add(name)
            told = {key: row[key] for key in ("translation", "size", "rotation")}
            told["velocity"] = devkit.box_velocity(token)[:2].tolist()
            told["sample_token"] = sample["token"]
            if tracking and name in ("traffic_cone", "barrier"):
                continue
            if tracking:
                own = {"id": row["instance_token"], "name": name, "score": 0.9}
                told |= {f"tracking_{key}": value for key, value in own.items()}
            else:
                (attribute,) = row["attribute_tokens"] or [""]
                told |= {"detection_name": name, "detection_score": 0.9}
                told["attribute_name"] = (
                    attribute and devkit.get("attribute", attribute)["name"]
                )
            results[sample["token"]].append(told)
    path.write_text(json.dumps({"meta": META, "results": results}))
    return sorted(names)


def test_perfect_detections_have_an_average_precision_of_one(
    devkit: NuScenes, judged: list[dict[str, Any]], tmp_path: Path
) -> None:
    names = write_results(tmp_path / "results.json", devkit, judged, tracking=False)
    evaluation = DetectionEval(
        devkit,
        config_factory("detection_cvpr_2019"),
        str(tmp_path / "results.json"),
        "mini_val",
        str(tmp_path),
        verbose=False,
    )
    metrics, _ = evaluation.evaluate()
    found = metrics.serialize()
    assert names == ["bicycle", "bus", "car", "pedestrian", "traffic_cone", "truck"]
    assert [found["mean_dist_aps"][name] for name in names] == pytest.approx([1.0] * 6)
    assert found["label_tp_errors"]["car"]["vel_err"] < 1e-9


def test_perfect_tracks_have_an_amota_of_one(
    devkit: NuScenes, judged: list[dict[str, Any]], tmp_path: Path
) -> None:
    config = config_factory("tracking_nips_2019")  # sets the names that load_gt needs
    write_results(tmp_path / "results.json", devkit, judged, tracking=True)
    evaluation = TrackingEval(
        config,
        str(tmp_path / "results.json"),
        "mini_val",
        str(tmp_path),
        VERSION,
        devkit.dataroot,
        verbose=False,
    )
    metrics, _ = evaluation.evaluate()
    assert metrics.serialize()["label_metrics"]["amota"]["car"] == 1.0


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_predicting_the_truth_has_no_error(
    root: Path, devkit: NuScenes, drive: dict[str, Any]
) -> None:
    questions = get_prediction_challenge_split("mini_val", str(root))
    assert len(questions) > 3
    helper, answers = PredictHelper(devkit), []
    for question in questions:
        instance, sample = question.split("_")
        future = helper.get_future_for_agent(instance, sample, 6, in_agent_frame=False)
        assert len(helper.get_past_for_agent(instance, sample, 1, in_agent_frame=False)) == 2
        answers.append(Prediction(instance, sample, future[None], np.array([1.0])).serialize())
    config = PredictionConfig([MinADEK([1], [RowMean()])], seconds=6, frequency=2)
    found = compute_metrics(answers, helper, config)
    assert found == {"MinADEK": {"RowMean": [0.0]}}
    assert drive["nbr_samples"] > 12


def test_perfect_labels_of_points_have_an_iou_of_one(
    root: Path, devkit: NuScenes, judged: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "lidarseg" / "mini_val"
    folder.mkdir(parents=True)
    evaluation = LidarSegEval(devkit, str(tmp_path), "mini_val")
    for sample in judged:
        token = sample["data"]["LIDAR_TOP"]
        labels = np.fromfile(root / devkit.get("lidarseg", token)["filename"], np.uint8)
        assert len(labels) == len(
            LidarPointCloud.from_file(devkit.get_sample_data_path(token)).points.T
        )
        evaluation.mapper.convert_label(labels).astype(np.uint8).tofile(
            folder / f"{token}_lidarseg.bin"
        )
    found = evaluation.evaluate()
    scores = {name: iou for name, iou in found["iou_per_class"].items() if not np.isnan(iou)}
    assert set(scores.values()) == {1.0}
    assert {"car", "bus", "driveable_surface", "sidewalk", "manmade"} <= set(scores)


def test_perfect_panoptic_labels_have_a_quality_of_one(
    root: Path, devkit: NuScenes, judged: list[dict[str, Any]], tmp_path: Path
) -> None:
    folder = tmp_path / "panoptic" / "mini_val"
    folder.mkdir(parents=True)
    evaluation = NuScenesPanopticEval(
        devkit,
        str(tmp_path),
        "mini_val",
        "segmentation",
        min_inst_points=1,
        out_dir=str(tmp_path),
    )
    for sample in judged:
        token = sample["data"]["LIDAR_TOP"]
        labels = np.load(root / devkit.get("panoptic", token)["filename"])["data"]
        coarse = evaluation.mapper.convert_label(labels // 1000).astype(np.uint16)
        np.savez_compressed(
            folder / f"{token}_panoptic.npz", data=coarse * 1000 + labels % 1000
        )
    evaluation.evaluate()
    found = json.loads((tmp_path / "segmentation-result.json").read_text())["segmentation"]
    assert {found[name]["PQ"] for name in ("car", "bus", "driveable_surface")} == {1.0}


def test_the_lidar_looks_to_the_right(devkit: NuScenes) -> None:
    """As on nuScenes' cars: x of its points is to the right of the car, y forward."""
    mount = next(row for row in devkit.calibrated_sensor if not row["camera_intrinsic"])
    forward = Quaternion(mount["rotation"]).rotate([0.0, 1.0, 0.0])
    assert forward == pytest.approx([1, 0, 0], abs=1e-9)
