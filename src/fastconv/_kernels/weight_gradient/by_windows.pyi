from fastconv.geometry import ConvGeometry

class WindowsGradient:
    def __init__(self, geometry: ConvGeometry) -> None: ...
