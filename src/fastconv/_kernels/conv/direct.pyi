from fastconv._kernels.conv.dense import Subconvolutions

ACTIVATIONS: dict[str | None, int]

class DensePlan(Subconvolutions): ...
