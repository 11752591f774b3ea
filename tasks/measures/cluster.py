"""Distributes samples over a Ray cluster, as joblib workers on other machines."""

from collections.abc import Iterator
from contextlib import contextmanager

import joblib

from neuro.base.extras import require_extra


@contextmanager
def use_cluster(address: str) -> Iterator[None]:
    """Run the block with the workers of a Ray cluster; "": with workers on this machine.

    address: in Ray's notation, such as "auto" or "ray://host:10001"; "local" starts Ray on this
    machine and stops it after the block. neuro must be installed on every machine.

    Raises:
        RuntimeError: Ray is not installed.
        ConnectionError: no cluster answers at the address, or the address is malformed.
    """
    if not address:
        yield
        return
    with require_extra("cluster", f"--cluster {address} needs Ray on every machine"):
        import ray
        from ray.util.joblib import register_ray
    try:
        ray.init(
            address=None if address == "local" else address,
            include_dashboard=False,
            log_to_driver=False,
        )
    except (ValueError, RuntimeError, OSError) as error:
        raise ConnectionError(
            f"--cluster {address}: {error}; give the address that ray start printed when the "
            "cluster began, such as ray://host:10001, or local for one on this machine"
        ) from error
    try:
        register_ray()
        with joblib.parallel_config("ray"):
            yield
    finally:
        ray.shutdown()
