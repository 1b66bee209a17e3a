"""Face recognition, and that of any other identities: who it is, by embeddings of pictures."""
from pipelines.tasks.face_recognition.task import FaceRecognition

__all__ = ["FaceRecognition"]
