"""What was measured, what was guessed, and what the method cannot see: evidence, verdicts, controls."""

__all__: list[str] = []
