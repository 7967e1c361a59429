"""Worked examples: sounds, sentences and solids, made on any machine; faces and a brain of other packages.

```sh
python -m fastconv.data.examples touch-tones keys --learn       # of a telephone, in noise as strong as they
python -m fastconv.data.examples spoken-digits digits --learn   # by 50 voices; needs the program espeak-ng
python -m fastconv.data.examples spoken-letters abc --learn     # the same of the letters a to z
python -m fastconv.data.examples sentences text --learn         # Python's help against licences
python -m fastconv.data.examples solids solids --learn          # five solids, turned in any way, in noise
python -m fastconv.data.examples faces faces --learn            # and what are none; needs scikit-image
python -m fastconv.data.examples brain blocks --learn           # regions of it; needs Debian's mricron-data
python -m fastconv.data.examples customers customers.csv        # a table, whose columns have no order
```

Each writes a folder that `open_dataset` opens, and so any command does that takes data. With `--learn` a
small net learns from it, and what it gets right of the samples held out is printed, beside controls.

| module | question it answers |
|---|---|
| `touch_tones`, `spoken`, `sentences`, `solids`, `faces`, `brain` | what is in the folder? |
| `customers` | what does a table look like that is none for ConvNets? |
| `learning` | how well does a small net tell it apart? |
"""

from __future__ import annotations

from fastconv.data.examples.brain import write_brain
from fastconv.data.examples.customers import draw_customers, write_customers
from fastconv.data.examples.faces import write_faces
from fastconv.data.examples.sentences import write_sentences
from fastconv.data.examples.solids import draw_solids, write_solids
from fastconv.data.examples.spoken import write_spoken_digits, write_spoken_letters
from fastconv.data.examples.touch_tones import touch_tone, write_touch_tones

__all__ = [
    "draw_customers",
    "draw_solids",
    "touch_tone",
    "write_brain",
    "write_customers",
    "write_faces",
    "write_sentences",
    "write_solids",
    "write_spoken_digits",
    "write_spoken_letters",
    "write_touch_tones",
]
