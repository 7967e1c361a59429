"""Signals: Fourier transforms, mel weights; determinants; pictures from files."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from fastconv.geometry import check_memory
from fastconv.graph.operator import UNKNOWN, Operator, Signature
from fastconv.graph.operators.elementwise import FLOATS

#: Pixels of a picture from a file that is decoded: more are a mistake, or malice.
MOST_PIXELS = 1 << 28


def _number(name: str, array: np.ndarray | None, default: int) -> int:
    """An input that is one whole number."""
    if array is None:
        return default
    if array.size != 1:
        raise ValueError(f"{name}: shape {array.shape} must be one number")
    return int(array.reshape(()))


# ---- Fourier transforms -------------------------------------------------------------------------------


def _complex(x: np.ndarray) -> np.ndarray:
    """Numbers whose last axis has one part, or two, as real or complex ones."""
    if x.dtype not in FLOATS:
        x = x.astype(np.float32)
    if x.shape[-1] == 1:
        return x[..., 0]
    return np.ascontiguousarray(x).view(np.result_type(x.dtype, np.complex64))[..., 0]


def _parts(z: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Complex numbers with a last axis of their two parts, or real ones of one."""
    if z.dtype.kind != "c":
        return z[..., None].astype(dtype, copy=False)
    z = np.ascontiguousarray(z)
    return z[..., None].view(z.real.dtype).astype(dtype, copy=False)


def _dft_plan(
    shape: tuple[int, ...], length: np.ndarray | None, axis: np.ndarray | None, inverse: int, onesided: int
) -> tuple[int, int, tuple[int, ...]]:
    """The axis, the length of the transform, and the shape of its result."""
    rank = len(shape)
    along = _number("axis", axis, -2)
    if rank < 2 or shape[-1] not in (1, 2):
        raise ValueError(f"input: shape {shape} must end in 1 or 2, the parts of a number")
    if not -rank <= along < rank or along % rank == rank - 1:
        raise ValueError(f"axis={along}: must be one of the {rank - 1} before the last")
    along %= rank
    if onesided and shape[-1] != (2 if inverse else 1):
        raise ValueError(
            f"onesided=1: takes {'complex' if inverse else 'real'} numbers, not those of {shape}"
        )
    whole = 2 * (shape[along] - 1) if onesided and inverse else shape[along]
    count = _number("dft_length", length, whole)
    if count < 1:
        raise ValueError(f"dft_length={count}: must be positive")
    made = list(shape)
    made[along] = count // 2 + 1 if onesided and not inverse else count
    made[-1] = 1 if onesided and inverse else 2
    check_memory(tuple(made), np.dtype(np.float64))
    return along, count, tuple(made)


def _dft(
    x: np.ndarray,
    dft_length: np.ndarray | None = None,
    axis: np.ndarray | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> np.ndarray:
    along, count, shape = _dft_plan(x.shape, dft_length, axis, inverse, onesided)
    if 0 in shape:
        return np.empty(shape, x.dtype)
    z = _complex(x)
    if onesided:
        return _parts((np.fft.irfft if inverse else np.fft.rfft)(z, count, along), x.dtype)
    return _parts((np.fft.ifft if inverse else np.fft.fft)(z, count, along), x.dtype)


def _dft_signature(
    x: Signature,
    length: Signature | None = None,
    axis: Signature | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Signature:
    assert x.shape is not None
    shape = _dft_plan(x.shape, length and length.value, axis and axis.value, inverse, onesided)[2]
    return Signature(x.dtype, shape)


def _stft_plan(
    shape: tuple[int, ...],
    step: np.ndarray,
    window: tuple[int, ...] | None,
    length: np.ndarray | None,
    onesided: int,
) -> tuple[int, int, tuple[int, ...]]:
    """How far frames are apart, how long they are, and the shape of the result."""
    if len(shape) not in (2, 3) or (len(shape) == 3 and shape[-1] not in (1, 2)):
        raise ValueError(f"signal: shape {shape} must be (batch, length, 1 or 2)")
    apart = _number("frame_step", step, 1)
    count = _number("frame_length", length, shape[1] if window is None else window[0] if window else 0)
    if apart < 1 or not 1 <= count <= shape[1]:
        raise ValueError(f"frame_step={apart}, frame_length={count}: must be positive, and fit into {shape}")
    if window not in (None, (count,)):
        raise ValueError(f"window: shape {window} must be ({count},)")
    if onesided and len(shape) == 3 and shape[-1] == 2:
        raise ValueError(f"onesided=1: takes real numbers, not those of {shape}")
    frames = (shape[1] - count) // apart + 1
    made = (shape[0], frames, count // 2 + 1 if onesided else count, 2)
    check_memory(made, np.dtype(np.float64))
    return apart, count, made


def _stft(
    signal: np.ndarray,
    frame_step: np.ndarray,
    window: np.ndarray | None = None,
    frame_length: np.ndarray | None = None,
    *,
    onesided: int = 1,
) -> np.ndarray:
    """The transforms of frames of a signal, each weighted by a window."""
    shape = None if window is None else window.shape
    step, count, made = _stft_plan(signal.shape, frame_step, shape, frame_length, onesided)
    if 0 in made:
        return np.empty(made, signal.dtype)
    z = _complex(signal if signal.ndim == 3 else signal[..., None])
    frames = np.lib.stride_tricks.sliding_window_view(z, count, 1)[:, ::step]
    if window is not None:
        frames = frames * window.astype(z.real.dtype)
    return _parts((np.fft.rfft if onesided else np.fft.fft)(frames, count, -1), signal.dtype)


def _stft_signature(
    signal: Signature,
    step: Signature,
    window: Signature | None = None,
    length: Signature | None = None,
    *,
    onesided: int = 1,
) -> Signature:
    assert signal.shape is not None
    shape = None if window is None else window.shape
    return Signature(
        signal.dtype, _stft_plan(signal.shape, step.value, shape, length and length.value, onesided)[2]
    )


# ---- mel ----------------------------------------------------------------------------------------------


def _mel_weights(
    num_mel_bins: np.ndarray,
    dft_length: np.ndarray,
    sample_rate: np.ndarray,
    lower_edge_hertz: np.ndarray,
    upper_edge_hertz: np.ndarray,
    *,
    output_datatype: Any = np.float32,
) -> np.ndarray:
    """Triangles over the bins of a spectrum, evenly apart on the mel scale, as ONNX places them."""
    bands, length = _number("num_mel_bins", num_mel_bins, 0), _number("dft_length", dft_length, 0)
    rate = _number("sample_rate", sample_rate, 0)
    bins = length // 2 + 1
    if bands < 0 or length < 1 or rate < 1:
        raise ValueError(f"num_mel_bins={bands}, dft_length={length}, sample_rate={rate}: must be positive")
    check_memory((bins, bands, 2), np.dtype(np.float64))
    low, high = (
        2595 * np.log10(1 + float(f.reshape(())) / 700) for f in (lower_edge_hertz, upper_edge_hertz)
    )
    mel = np.arange(bands + 2) * ((high - low) / (bands + 2)) + low
    hertz = 700 * np.expm1(mel / 2595 * np.log(10))
    edges = (length + 1) * hertz // rate
    if not np.all((edges >= 0) & (edges < bins)):
        raise ValueError(f"upper_edge_hertz={upper_edge_hertz}: bands must lie within half of {rate} Hz")
    left, middle, right = edges[:-2], edges[1:-1], edges[2:]
    at = np.arange(bins)[:, None]
    with np.errstate(all="ignore"):
        rising = np.where(middle > left, (at - left) / (middle - left), 1.0)
        falling = (right - at) / (right - middle)
    weights = np.where((at >= left) & (at <= middle), rising, 0.0)
    weights = np.where((at >= middle) & (at < right), falling, weights)
    return weights.astype(output_datatype or np.float32)


def _mel_signature(
    bands: Signature, length: Signature, *others: Signature, output_datatype: Any = np.float32
) -> Signature:
    shape = (_number("dft_length", length.value, 0) // 2 + 1, _number("num_mel_bins", bands.value, 0))
    return Signature(np.dtype(output_datatype or np.float32), shape)


# ---- others -------------------------------------------------------------------------------------------


def _determinant(x: np.ndarray) -> np.ndarray:
    if x.ndim < 2 or x.shape[-1] != x.shape[-2]:
        raise ValueError(f"X: shape {x.shape} must end in a square")
    wide = x if x.dtype in FLOATS else x.astype(np.float32)
    return np.asarray(np.linalg.det(wide)).astype(x.dtype)


def _determinant_signature(x: Signature) -> Signature:
    assert x.shape is not None
    return Signature(x.dtype, x.shape[:-2])


def _decode(encoded: np.ndarray, *, pixel_format: str = "RGB") -> np.ndarray:
    """A picture (height, width, channels) from the bytes of a file; an empty one if they are none."""
    try:
        from PIL import Image
    except ImportError as error:
        raise ValueError("pictures are read by Pillow: pip install 'fastconv[cli]' has it") from error
    if pixel_format not in ("RGB", "BGR", "Grayscale"):
        raise ValueError(f"pixel_format={pixel_format!r}: must be RGB, BGR or Grayscale")
    try:
        with Image.open(io.BytesIO(encoded.tobytes())) as picture:
            if picture.width * picture.height > MOST_PIXELS:
                raise ValueError(f"picture of {picture.width} x {picture.height} pixels: is too large")
            pixels = np.array(picture.convert("L" if pixel_format == "Grayscale" else "RGB"))
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return np.empty((0, 0, 1 if pixel_format == "Grayscale" else 3), np.uint8)
    pixels = pixels.reshape(*pixels.shape[:2], -1)
    return np.ascontiguousarray(pixels[:, :, ::-1]) if pixel_format == "BGR" else pixels


def _unknown(*signatures: Signature, **attributes: Any) -> Signature:
    return UNKNOWN


OPERATORS: dict[str, Operator] = {
    "DFT": Operator(_dft, _dft_signature, shaped_by=(1, 2)),
    "STFT": Operator(_stft, _stft_signature, shaped_by=(1, 3)),
    "MelWeightMatrix": Operator(_mel_weights, _mel_signature, shaped_by=(0, 1)),
    "Det": Operator(_determinant, _determinant_signature),
    "ImageDecoder": Operator(_decode, _unknown, varies=True),
}
