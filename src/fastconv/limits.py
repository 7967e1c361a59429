"""threadpoolctl's limits hold here, too: `with threadpool_limits(1): ...`, as scikit-learn writes it.

threadpoolctl knows libraries by the names of their files and asks for a controller of each kind. Ours is
registered when both packages are imported, whichever comes first, and threadpoolctl is not imported for it.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType


def register(threadpoolctl: ModuleType, version: str) -> None:
    """Tell threadpoolctl of fastconv's threads; releases before 3.2 take no controllers and are left alone.

    Parameters
    ----------
    threadpoolctl : module
        As imported by whoever uses it.
    version : str
        Of fastconv, for `threadpool_info`.
    """
    if not hasattr(threadpoolctl, "register"):
        return
    said = version

    class Controller(threadpoolctl.LibController):  # type: ignore[misc, name-defined]
        """The count is the whole process's, as `fastconv.set_num_threads` sets it."""

        user_api = internal_api = "fastconv"
        filename_prefixes = ("fastconv_native",)
        check_symbols = ("fastconv_get_num_threads", "fastconv_set_num_threads")

        def get_num_threads(self) -> int:
            return int(self.dynlib.fastconv_get_num_threads())

        def set_num_threads(self, num_threads: int) -> None:
            self.dynlib.fastconv_set_num_threads(num_threads)

        def get_version(self) -> str:
            return said

    threadpoolctl.register(Controller)


def register_when_imported(version: str) -> None:
    """`register` at once if threadpoolctl is there, else right after it will have been imported."""
    there = sys.modules.get("threadpoolctl")
    if there is not None:
        register(there, version)
    elif "threadpoolctl" not in sys.modules:  # None stands for a module that must not be imported
        sys.meta_path.insert(0, _Waiting(version))


class _Waiting:
    """A finder of modules that finds threadpoolctl as the others do, to be told when it has been executed."""

    def __init__(self, version: str) -> None:
        self.version = version

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != "threadpoolctl":
            return None
        others = [finder for finder in sys.meta_path if finder is not self]
        specs = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((spec for spec in specs if spec is not None), None)
        if spec is None or spec.loader is None:
            return None
        execute = spec.loader.exec_module

        def execute_and_register(module: ModuleType) -> None:
            execute(module)
            if self in sys.meta_path:
                sys.meta_path.remove(self)
            register(module, self.version)

        spec.loader.exec_module = execute_and_register  # type: ignore[method-assign]
        return spec
