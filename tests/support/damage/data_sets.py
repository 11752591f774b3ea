"""Files of data sets, and how each is read."""

import warnings
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zstandard
from class_files import write_latent_cache
from clips import random_clip
from corpus_files import write_corpus_folders, write_pile
from eeg_files import make_noise, write_chb_mit, write_edf
from fake_data_sets import (
    write_aedat2,
    write_aedat3,
    write_cifar,
    write_idx,
    write_mnist,
    write_records,
)
from nuscenes_files import LOCATION, open_windows, write_data_set
from PIL import Image
from scipy.io import savemat
from toy_puzzles import write_gsm8k, write_implicit, write_prosqa

from damage.networks import of_user
from damage.ways import (
    Rng,
    Subject,
    damage_arrays,
    damage_bytes,
    fresh,
    of_bytes,
    of_json,
    of_lines,
)
from drivers import cifar, idx, mnist
from drivers.class_folders import read_moments, read_square_image
from drivers.eeg.chb_mit import parse_summary
from drivers.eeg.edf import read_edf
from drivers.eeg.kaggle import read_segment
from drivers.event_camera import dvs_gesture
from drivers.event_camera.files import read_aedat2, read_aedat3, read_records
from drivers.nuscenes.images import read_image, read_lidar
from drivers.puzzles import read_items
from drivers.text import load, load_world, read_folders, read_pile
from neuro.io.pytree import digest


def make_events(folder: Path, write: Any) -> Path:
    path, clip = fresh(folder) / "events", random_clip(3, 60)
    write(path, replace(clip, time=np.sort(clip.time) - clip.start, start=0, stop=5000))
    return path


def read_events(path: Path, read: Any) -> str:
    return digest(tuple(read(path, 6)))


def make_idx(folder: Path, suffix: str) -> Path:
    path = fresh(folder) / f"images{suffix}"
    write_idx(path, np.random.default_rng(0).integers(0, 256, (3, 5, 5), np.uint8))
    return path


def read_idx(path: Path) -> str:
    return digest(idx.read(path, axes=3))


def make_mnist(folder: Path) -> Path:
    write_mnist(fresh(folder), 3)
    return folder / "t10k-labels-idx1-ubyte.gz"


def read_mnist(path: Path) -> str:
    return digest(mnist.load(path.parent, "test").labels)


def make_cifar(folder: Path) -> Path:
    write_cifar(fresh(folder), "cifar10", 2)
    return folder / "test_batch.bin"


def read_cifar(path: Path) -> str:
    found = cifar.load(path.parent, "test")
    return digest((found.images, found.labels))


def make_gestures(folder: Path) -> Path:
    path = fresh(folder) / "user00_test_labels.csv"
    rows = [f"{k},{1000 * k},{1000 * k + 500}" for k in range(1, 12)]
    path.write_text("\n".join([dvs_gesture.TITLE, *rows]) + "\n")
    (folder / "user00_test.aedat").write_bytes(b"")
    (folder / "trials_to_test.txt").write_text("user00_test.aedat\n")
    return path


def read_gestures(path: Path) -> list[int]:
    labels: list[int] = dvs_gesture.load(path.parent, "test").labels.tolist()
    return labels


def make_edf(folder: Path) -> Path:
    path = fresh(folder) / "a.edf"
    write_edf(path, make_noise(2, 3, 0, rate=8), ("a", "b", "c"), rate=8)
    return path


def read_recording(path: Path) -> str:
    edf = read_edf(path)
    return digest((edf.channels, edf.read([0, 1, 2], 0, 16)))


def make_summary(folder: Path) -> Path:
    files = [("a.edf", "23:00:00", 2), ("b.edf", "1:00:00", 2)]
    write_chb_mit(folder / "chb01", files, {"b.edf": [(0, 1)]}, ["x"])
    return folder / "chb01" / "chb01-summary.txt"


def read_summary(path: Path) -> str:
    return digest(tuple(parse_summary(path)))


def make_nuscenes(folder: Path, name: str) -> Path:
    return write_data_set(fresh(folder), 3, ["scene-0061"]) / name


def of_table(path: Path, rng: Rng) -> bool:
    """Damage one of the tables in a folder."""
    tables = sorted(path.iterdir())
    return of_json(tables[rng.integers(len(tables))], rng)


def read_nuscenes(path: Path) -> str:
    from drivers.nuscenes.windows import GroundGrid, ImageSize, WindowSettings

    root = next(folder for folder in path.parents if (folder / "v1.0-mini").exists())
    settings = WindowSettings(
        grid=GroundGrid(x=(-8.0, 8.0), y=(-8.0, 8.0), step=1.0),
        image=ImageSize(height=64, width=160, scale=1.0, crop=26),
        past=1,
        future=2,
    )
    with warnings.catch_warnings():
        # A map that is no whole one is mended with a warning.
        warnings.filterwarnings("ignore", "maps/expansion/.*", UserWarning)
        return digest(vars(open_windows(root, settings)[0]))


def make_questions(folder: Path, write: Any, name: str) -> Path:
    write(fresh(folder), 2)
    return folder / name


def read_questions(path: Path) -> str:
    return repr(read_items(path))


def make_corpora(folder: Path, name: str) -> Path:
    return write_corpus_folders(fresh(folder), ["a", "b"], each=2, words=5) / name


def read_corpora(path: Path) -> str:
    return repr(read_folders(path.parents[1]))


def make_pile(folder: Path) -> Path:
    return write_pile(fresh(folder) / "00.jsonl", ["a", "b"], each=2)


def read_pile_corpora(path: Path) -> str:
    return repr(read_pile(path))


def make_packed_pile(folder: Path) -> Path:
    whole = make_pile(folder).read_bytes()
    path = folder / "00.jsonl.zst"
    path.write_bytes(zstandard.ZstdCompressor().compress(whole))
    return path


def make_text(folder: Path) -> Path:
    (fresh(folder) / "a.txt").write_text("a line of café\nand one more\n")
    return folder / "a.txt"


def make_vocabulary(folder: Path) -> Path:
    lines = [f"{k + 1} {bytes([k])!r} 1\n" for k in range(256)] + ["257 'é b' 4\n"]
    (fresh(folder) / "world.txt").write_text("".join(lines))
    return folder / "world.txt"


def read_vocabulary(path: Path) -> bytes:
    return load_world(path).decode(range(1, 258))


def make_latents(folder: Path) -> Path:
    write_latent_cache(fresh(folder), each=1, channels=1, side=2)
    return folder / "train" / "n01" / "n01_0.npz"


def of_latents(path: Path, rng: Rng) -> bool:
    """Damage the bytes or the arrays of an .npz, or a member behind a right checksum."""
    if rng.random() < 0.5:
        return of_user(path, rng)
    with zipfile.ZipFile(path) as file:
        members = {name: bytearray(file.read(name)) for name in file.namelist()}
    name = list(members)[rng.integers(len(members))]
    members[name][rng.integers(len(members[name]))] ^= 1 << int(rng.integers(8))
    packing = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA)[rng.integers(3)]
    with zipfile.ZipFile(path, "w", packing) as file:
        for name, data in members.items():
            file.writestr(name, bytes(data))
    return False


def read_latents(path: Path) -> str:
    return digest(read_moments(path, 1, 2))


def make_image(folder: Path, name: str) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 3), np.uint8)
    Image.fromarray(pixels).save(fresh(folder) / name)
    return folder / name


def read_png(path: Path) -> str:
    return digest(read_square_image(path, 9))


def read_jpeg(path: Path) -> bytes:
    return read_image(path).tobytes()


def make_lidar(folder: Path) -> Path:
    np.arange(20, dtype="<f4").reshape(4, 5).tofile(fresh(folder) / "a.bin")
    return folder / "a.bin"


def read_points(path: Path) -> str:
    return digest(read_lidar(path))


def make_fields() -> dict[str, Any]:
    names = np.array(["a", "bc"], object)
    numbers = {"data_length_sec": 10.0, "sampling_frequency": 4.0, "sequence": 1.0}
    return {"data": np.sin(np.arange(80.0)).reshape(2, 40), "channels": names} | numbers


def make_segment(folder: Path) -> Path:
    path = fresh(folder) / "Dog_1_preictal_segment_0001.mat"
    savemat(path, {"preictal_segment_1": make_fields()})
    return path


def of_segment(path: Path, rng: Rng) -> bool:
    """Damage the bytes of a .mat, packed or not, or its fields."""
    fields, way = {k: np.asarray(v) for k, v in make_fields().items()}, rng.random()
    if way < 0.3:
        damage_arrays(fields, rng)
    savemat(path, {"preictal_segment_1": fields}, do_compression=way > 0.8)
    if way >= 0.3:
        damage_bytes(path, rng)
    return False


def read_eeg(path: Path) -> str:
    found = read_segment(path)
    return digest((found.data, found.channels, found.rate, found.sequence))


def read_text(path: Path) -> str:
    return load(path).digest


SUBJECTS: dict[str, Subject] = {
    "corpus.txt": Subject(
        make=partial(make_corpora, name="a/000.txt"), damage=of_bytes(), read=read_corpora
    ),
    "corpus.jsonl": Subject(
        make=partial(make_corpora, name="b/all.jsonl"), damage=of_json, read=read_corpora
    ),
    "pile": Subject(make=make_pile, damage=of_json, read=read_pile_corpora),
    "pile.zst": Subject(make=make_packed_pile, damage=of_bytes(), read=read_pile_corpora),
    "text": Subject(make=make_text, damage=of_bytes(), read=read_text),
    "vocabulary": Subject(make=make_vocabulary, damage=of_lines, read=read_vocabulary),
    "latents": Subject(make=make_latents, damage=of_latents, read=read_latents),
    "png": Subject(make=partial(make_image, name="a.png"), damage=of_bytes(), read=read_png),
    "jpeg": Subject(make=partial(make_image, name="a.jpg"), damage=of_bytes(), read=read_jpeg),
    "lidar": Subject(make=make_lidar, damage=of_bytes(), read=read_points),
    "segment": Subject(make=make_segment, damage=of_segment, read=read_eeg, slow=5),
    "prosqa": Subject(
        make=partial(make_questions, write=write_prosqa, name="prosqa_train.json"),
        damage=of_json,
        read=read_questions,
    ),
    "gsm8k": Subject(
        make=partial(make_questions, write=write_gsm8k, name="train.jsonl"),
        damage=of_json,
        read=read_questions,
    ),
    "implicit_thoughts": Subject(
        make=partial(make_questions, write=write_implicit, name="train.txt"),
        damage=of_bytes(),
        read=read_questions,
    ),
    "records": Subject(
        make=partial(make_events, write=write_records),
        damage=of_bytes(),
        read=partial(read_events, read=read_records),
    ),
    "aedat2": Subject(
        make=partial(make_events, write=write_aedat2),
        damage=of_bytes(),
        read=partial(read_events, read=read_aedat2),
    ),
    "aedat3": Subject(
        make=partial(make_events, write=partial(write_aedat3, packet=20)),
        damage=of_bytes(),
        read=partial(read_events, read=read_aedat3),
    ),
    "gestures": Subject(make=make_gestures, damage=of_lines, read=read_gestures),
    "edf": Subject(make=make_edf, damage=of_bytes(), read=read_recording),
    "summary": Subject(make=make_summary, damage=of_lines, read=read_summary),
    "idx": Subject(make=partial(make_idx, suffix=""), damage=of_bytes(), read=read_idx),
    "idx.gz": Subject(
        make=partial(make_idx, suffix=".gz"), damage=of_bytes(checked=True), read=read_idx
    ),
    "mnist": Subject(make=make_mnist, damage=of_bytes(checked=True), read=read_mnist),
    "cifar": Subject(make=make_cifar, damage=of_bytes(), read=read_cifar),
    **{
        name: Subject(
            make=partial(make_nuscenes, name=name),
            damage=damage,
            read=read_nuscenes,
            slow=10,
            names_file=False,  # but the record of a table
        )
        for name, damage in {
            "v1.0-mini": of_table,
            f"maps/expansion/{LOCATION}.json": of_json,
            "can_bus/scene-0061_pose.json": of_json,
        }.items()
    },
}
