"""Doors for software that people have: each module is imported by name, and needs what its name says.

| module | whose convolutions run here |
|---|---|
| `fastconv.interop.onnx` | models from files, as functions of NumPy arrays, and nets as such files |
| `fastconv.interop.torch` | torch's: operators with gradients, existing models, weights both ways |
| `fastconv.interop.sklearn` | estimators for scikit-learn: pipelines, grid searches, cross-validation |
| `fastconv.interop.autograd` | primitives for HIPS autograd, with gradients of all orders |
| `fastconv.interop.jax` | functions for JAX: jit, vmap, grad |
| `fastconv.interop.keras` | Keras models on the NumPy backend, without JAX |

None of them is imported by `import fastconv`. One whose package is missing raises an ImportError that names
the extra to install.
"""

from __future__ import annotations


def missing(extra: str, error: ImportError) -> ImportError:
    """The error of a door whose package is not there: what to install.

    Parameters
    ----------
    extra : str
        The door's name, which its extra has too.
    error : ImportError
        What importing the package has raised.

    Examples
    --------
    >>> from fastconv.interop import missing
    >>> print(missing("torch", ImportError("No module named 'torch'")))
    fastconv.interop.torch: No module named 'torch'; pip install 'fastconv[torch]' brings what it needs
    """
    return ImportError(
        f"fastconv.interop.{extra}: {error}; pip install 'fastconv[{extra}]' brings what it needs",
        name=error.name,
    )
