"""What every kernel stands on: tiles and instruction sets, threads, memory, arrays and their order."""
