"""Deterministic simulation: the engine's own functions and SQL on virtual time, under seeded faults."""
