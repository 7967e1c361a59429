"""What every kernel stands on: the C tiles and the instruction set in use, threads, memory, arrays and their order."""
