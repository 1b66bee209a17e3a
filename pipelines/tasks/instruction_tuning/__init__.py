"""Instruction tuning: a language model learns to answer."""
from pipelines.tasks.instruction_tuning.task import InstructionTuning

__all__ = ["InstructionTuning"]
