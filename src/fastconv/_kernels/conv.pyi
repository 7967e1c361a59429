from fastconv._kernels.dense import Subconvolutions

ACTIVATIONS: dict[str | None, int]

class DensePlan(Subconvolutions): ...
