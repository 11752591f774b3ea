import subprocess
import sys
from pathlib import Path

import pytest

SUPPORT = Path(__file__).parents[2] / "support"


@pytest.mark.slow
def test_what_is_no_metric_or_function_is_refused_with_what_to_write(tmp_path: Path) -> None:
    """In a process of its own: here every argument's type is checked before."""
    text = (SUPPORT / "forecast_task.py").read_text()
    assert text.count("validation=RMSE,") == 1
    file = tmp_path / "mine.py"
    file.write_text(text.replace("validation=RMSE,", 'validation="mae", eventprop=True,'))
    code = f"from tasks.cli.parser import main; main(['train', {str(file)!r}])"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    told = " ".join(done.stderr.split())
    assert "validation must be a Metric, got 'mae'; write Metric(name=\"mae\"," in told
    assert "eventprop must be a function of the configuration or None, got True" in told


@pytest.mark.slow
def test_a_direction_of_a_metric_that_is_none_is_refused() -> None:
    """Taken as "lower" it would keep the worst weights. In a process of its own, too."""
    code = "from tasks.runs.task import Metric; Metric(name='accuracy', better='max')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert 'accuracy: better must be "higher" or "lower", got \'max\'' in done.stderr
