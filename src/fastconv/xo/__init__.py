"""The X-or-O example: pictures, features, a network made by hand, and one that learns.

`fastconv xo` shows it all; the same from Python:

>>> from fastconv.xo import Knobs, Lesson, learn
>>> learned = learn(Knobs(), Lesson(train=1000, unseen=500, epochs=3))
>>> learned.exam.deck_right > 5 and learned.exam.accuracy > 0.8
True
"""

from fastconv.xo.compare import Comparison, compare
from fastconv.xo.errors import KnobError, PictureError
from fastconv.xo.generator import Variation, generate
from fastconv.xo.handmade import (
    O_VOTERS,
    X_VOTERS,
    HandMadeTrace,
    count_votes,
    hand_made,
    match,
    two_decimals,
)
from fastconv.xo.knobs import DEEP_STACK, MIDDLE_STACK, SHORT_STACK, Knobs, Stage
from fastconv.xo.model_file import load_model, save_model
from fastconv.xo.network import build_network, maps_of
from fastconv.xo.picture_file import read_picture
from fastconv.xo.pictures import (
    DECK,
    LETTERS,
    DeckPicture,
    deck_features,
    deck_pictures,
    picture_from_rows,
    resample,
    scale_ink,
)
from fastconv.xo.training import Exam, Learned, Lesson, examine, judge, learn

__all__ = [
    "DECK",
    "DEEP_STACK",
    "LETTERS",
    "MIDDLE_STACK",
    "O_VOTERS",
    "SHORT_STACK",
    "X_VOTERS",
    "Comparison",
    "DeckPicture",
    "Exam",
    "HandMadeTrace",
    "KnobError",
    "Knobs",
    "Learned",
    "Lesson",
    "PictureError",
    "Stage",
    "Variation",
    "build_network",
    "compare",
    "count_votes",
    "deck_features",
    "deck_pictures",
    "examine",
    "generate",
    "hand_made",
    "judge",
    "learn",
    "load_model",
    "maps_of",
    "match",
    "picture_from_rows",
    "read_picture",
    "resample",
    "save_model",
    "scale_ink",
    "two_decimals",
]
