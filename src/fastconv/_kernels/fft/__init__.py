"""Large kernels by Fourier transforms, all three passes."""
