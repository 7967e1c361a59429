"""Training."""

from fastconv.train.build import parse_net, spec_of
from fastconv.train.errors import ModelError, SettingError, SpecError
