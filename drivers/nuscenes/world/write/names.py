"""Names in a written data set: tokens, scenes of the official splits, files of maps."""

from collections.abc import Mapping
from hashlib import md5
from typing import Literal

from nuscenes.utils.splits import create_splits_scenes

Version = Literal["v1.0-trainval", "v1.0-mini"]
SPLITS: Mapping[Version, tuple[str, str]] = {
    "v1.0-trainval": ("train", "val"),
    "v1.0-mini": ("mini_train", "mini_val"),
}
# Names of the images of the four maps, fixed by the devkit.
MAP_FILES = {
    "boston-seaport": "36092f0b03a857c6a3403e25b4b7aab3",
    "singapore-hollandvillage": "37819e65e09e5547b8a3ceaefba56bb2",
    "singapore-onenorth": "53992ee3023e5494b90c316c183be829",
    "singapore-queenstown": "93406b464a165eaba6d9de76ca09f5da",
}
# Scenes without CAN bus according to the devkit; SAD leaves out 419.
WITHOUT_CAN_BUS = {*range(161, 169), *range(170, 177), *range(309, 315), 419}
# Scenes with a misaligned route according to the devkit, which warns when it reads them.
MISALIGNED = {
    *(71, 73, 74, 75, 76, 85, 100, 101, 302, 303, 304, 305, 306, 334, 388, 389, 390, 436, 276),
    *range(106, 120), *range(261, 265), *range(499, 519), *range(547, 552), *range(556, 566),
    *range(730, 739), 778, *range(780, 785), 904, 905, 1073, 1074,
}  # fmt: skip


def make_token(*parts: str | int) -> str:
    """Return the token of a name in parts: 16 hex digits, half as many as in nuScenes.

    >>> make_token("scene", 3) == make_token("scene", 3) != make_token("scene", 4)
    True
    """
    return md5("/".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()[:16]


def name_scenes(number: int, version: Version) -> list[str]:
    """Return names for ``number`` scenes: every fifth of validation, all others of training.

    Thus any five consecutive scenes include both. Scenes without CAN bus or with a misaligned
    route are left out.

    Raises:
        ValueError: more scenes than the version has names for.

    >>> name_scenes(5, "v1.0-trainval")
    ['scene-0001', 'scene-0002', 'scene-0004', 'scene-0005', 'scene-0003']
    """
    bad = WITHOUT_CAN_BUS | MISALIGNED
    splits = create_splits_scenes()
    train, val = (
        [name for name in sorted(splits[part]) if int(name[-4:]) not in bad]
        for part in SPLITS[version]
    )
    of_val = number // 5
    if number < 1 or number - of_val > len(train) or of_val > len(val):
        most = min(5 * len(val) + 4, 5 * len(train) // 4)
        raise ValueError(
            f"{number} scenes; {version} has names for 1 to {most}; ask for so many"
        )
    train_left, val_left = iter(train), iter(val)
    return [next(val_left if k % 5 == 4 else train_left) for k in range(number)]
