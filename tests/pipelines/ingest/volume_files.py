"""Volumes written here: a bright ball beside a dark one, whose places in the body are known."""
from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

#: Hounsfield units of what is around, of the ball and of the other one.
AROUND, BRIGHT, DARK = -500, 900, -900


def balls(shape=(12, 32, 40), seed=0):
    """Return values (slices, rows, columns) in axial slices from below, the front above and the right on the left, and
    the mask: 1 the bright ball, which is low, in front and on the right; 2 the dark one, on the other side."""
    places = np.indices(shape).transpose(1, 2, 3, 0) / shape
    mask = np.zeros(shape, "uint8")
    mask[((places - [0.3, 0.3, 0.3]) ** 2).sum(-1) < 0.04] = 1
    mask[((places - [0.7, 0.7, 0.7]) ** 2).sum(-1) < 0.03] = 2
    noise = np.random.default_rng(seed).integers(-40, 40, shape)
    return (np.array([AROUND, BRIGHT, DARK])[mask] + noise).astype("int16"), mask


def write_nifti(path: Path, values: np.ndarray, spacing=(3.0, 1.0, 1.0), axes="LPS") -> None:
    """Write values in axial slices from below, the front above and the right on the left, as a NIfTI file.

    Args:
        spacing: between slices, rows and columns.
        axes: where the file's axes are to point, as nibabel has it.
    """
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    affine[:3, 3] = (values.shape[2] * spacing[2] / 2, values.shape[1] * spacing[1] / 2, -40)
    # columns run to the left, rows to the back: the opposites of RAS
    image = nibabel.Nifti1Image(np.ascontiguousarray(values.transpose(2, 1, 0)), affine)
    turn = nibabel.orientations.ornt_transform(
        nibabel.orientations.io_orientation(affine), nibabel.orientations.axcodes2ornt(axes))
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(image.as_reoriented(turn), path)


def write_dicom(folder: Path, values: np.ndarray, patient="1", spacing=(3.0, 1.0, 1.0), intercept=-1024, slope=1,
                photometric="MONOCHROME2", order=None) -> None:
    """Write the same values as a series of DICOM files, their numbers rescaled.

    Args:
        order: of the slices in the names of the files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    series = generate_uid()
    for name, number in enumerate(order if order is not None else range(len(values))):
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = CTImageStorage, generate_uid()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        file.SOPClassUID, file.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        file.SeriesInstanceUID, file.PatientID, file.Modality = series, patient, "CT"
        file.Rows, file.Columns = values.shape[1:]
        file.SamplesPerPixel, file.PhotometricInterpretation = 1, photometric
        file.BitsAllocated, file.BitsStored, file.HighBit, file.PixelRepresentation = 16, 16, 15, 0
        file.PixelSpacing, file.SliceThickness = [spacing[1], spacing[2]], spacing[0]
        file.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        file.ImagePositionPatient = [-values.shape[2] * spacing[2] / 2, -values.shape[1] * spacing[1] / 2,
                                     -40 + spacing[0] * int(number)]
        file.RescaleSlope, file.RescaleIntercept = slope, intercept
        file.PixelData = ((values[number].astype(int) - intercept) / slope).round().astype("<u2").tobytes()
        pydicom.dcmwrite(folder / f"{name:03d}.dcm", file, enforce_file_format=True)
