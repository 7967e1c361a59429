from fastconv.geometry import ConvGeometry

class DotGradient:
    def __init__(self, geometry: ConvGeometry) -> None: ...
