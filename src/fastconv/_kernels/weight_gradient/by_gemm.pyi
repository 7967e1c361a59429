from fastconv.geometry import ConvGeometry

class GemmGradient:
    def __init__(self, geometry: ConvGeometry) -> None: ...
