"""`fastconv.interop.keras`: the NumPy backend without JAX gives what other backends give."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

if find_spec("keras") is None:
    pytest.skip("the door to Keras needs keras", allow_module_level=True)

import fastconv.interop.keras

CASES = Path(__file__).parent / "keras_cases.py"


def run(whose: str, folder: Path) -> dict[str, np.ndarray]:
    """Results of a process of its own, for Keras can be imported in one way only."""
    file = folder / "results.npz"
    environment = {
        **os.environ,
        "KERAS_BACKEND": "numpy",
        "KERAS_HOME": str(folder),
        "PYTHONWARNINGS": "ignore",
    }
    command = [sys.executable, str(CASES), str(file), whose]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    with np.load(file) as results:
        return dict(results)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """What fastconv gives, where importing JAX fails."""
    return run("ours", tmp_path_factory.mktemp("ours"))


def test_functions_and_a_model_agree_with_jaxs(ours: dict[str, np.ndarray], tmp_path: Path) -> None:
    """Shapes, dtypes and values are those of the functions that are replaced."""
    if find_spec("jax") is None:
        pytest.skip("compared with what Keras has of JAX")
    theirs = run("theirs", tmp_path)
    assert set(theirs) == set(ours)
    for name, expected in theirs.items():
        assert (ours[name].shape, ours[name].dtype) == (expected.shape, expected.dtype), name
        atol = 0.05 if name == "half" else 2e-5
        np.testing.assert_allclose(ours[name], expected, atol=atol, err_msg=name)


def test_a_strided_same_convolution_by_loops(ours: dict[str, np.ndarray]) -> None:
    """Written out: the padding of "same" depends on size, window and stride, most of it behind."""
    from interop.keras_cases import X2, draw

    kernel = draw(3, 4, 4, 5)
    padded = np.pad(X2, ((0, 0), (1, 1), (1, 2), (0, 0)))
    expected = np.zeros((2, 5, 8, 5))
    for y in range(5):
        for x in range(8):
            window = padded[:, 2 * y : 2 * y + 3, x : x + 4]
            expected[:, y, x] = np.einsum("nhwc,hwck->nk", window, kernel)
    np.testing.assert_allclose(ours["2-D, strided same"], expected, atol=1e-5)


def test_another_backend_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    keras = SimpleNamespace(config=SimpleNamespace(backend=lambda: "torch"))
    monkeypatch.setitem(sys.modules, "keras", keras)
    with pytest.raises(RuntimeError, match="keras runs on its 'torch' backend: must be 'numpy'"):
        fastconv.interop.keras.install()
