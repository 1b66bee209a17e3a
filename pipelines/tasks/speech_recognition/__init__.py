"""Speech recognition: what is said in a recording."""
from pipelines.tasks.speech_recognition.task import SpeechRecognition

__all__ = ["SpeechRecognition"]
