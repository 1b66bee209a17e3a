"""Medical volumes that cannot be read, or do not go together: each is said in a line."""
import importlib.util
import pathlib
import shutil

import nibabel
import numpy as np
import pydicom
import pytest
from pydantic import ValidationError
from pydicom.data import get_testdata_file
from scipy.spatial.transform import Rotation

from pipelines.errors import UserError
from pipelines.ingest.sources.source import Source
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import index_of
from tests.pipelines.ingest.volume_files import balls, write_dicom, write_nifti


def examples(source, part="train"):
    return list(Source.read(source).examples(part).as_numpy_iterator())


def prepared(source):
    read = Source.read(source)
    read.prepare()
    return read


def path_of(name):
    """Return one of pydicom's own files."""
    return pathlib.Path(get_testdata_file(name))


@pytest.mark.parametrize(("name", "message"), [
    ("rtplan.dcm", r"has no pixels, it is a file of RT Plan Storage; take it out"),
    ("reportsi.dcm", r"has no pixels, it is a file of .* SR.*; take it out"),
    ("SC_rgb_rle.dcm", r"is in colours \(RGB\); scans are grey")])
def test_files_that_are_no_scans_are_named(tmp_path, name, message):
    (tmp_path / "images").mkdir()
    shutil.copy(path_of(name), tmp_path / "images" / name)
    with pytest.raises(UserError, match=rf"data.source.dicom: .*{name} {message}"):
        prepared({"dicom": str(tmp_path)})


def test_pixels_that_were_stripped_and_files_that_are_no_dicom_are_named(tmp_path):
    values, _ = balls()
    write_dicom(tmp_path / "images" / "1", values)
    stripped = pydicom.dcmread(tmp_path / "images" / "1" / "004.dcm")
    del stripped.PixelData
    stripped.save_as(tmp_path / "images" / "1" / "004.dcm")
    with pytest.raises(UserError, match=r"004\.dcm has no pixels, it is a file of CT Image Storage"):
        prepared({"dicom": str(tmp_path)})
    (tmp_path / "images" / "1" / "004.dcm").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"004\.dcm is not a DICOM file, or is damaged"):
        prepared({"dicom": str(tmp_path)})


def test_mixed_spacings_are_refused_or_brought_to_one(tmp_path):
    values, mask = balls()
    for name, spacing in (("a", (3.0, 1.0, 1.0)), ("b", (3.0, 0.5, 0.5))):
        write_nifti(tmp_path / "images" / f"{name}.nii.gz", values, spacing)
        write_nifti(tmp_path / "masks" / f"{name}.nii.gz", mask, spacing)
    with pytest.raises(UserError, match=r"data.source.nifti: a has voxels of 1 x 1 mm, and b of 0.5 x 0.5 mm; give "
                                        r"data.source.nifti.spacing, for instance \[3, 1, 1\], and all are"):
        prepared({"nifti": str(tmp_path)})
    source = {"nifti": {"path": str(tmp_path), "spacing": [3, 1, 1]}}
    prepared(source)
    read = examples(source)
    assert read[0]["image"].shape == (32, 40, 1)
    assert read[12]["image"].shape == (16, 20, 1) == (*read[12]["mask"].shape, 1)
    assert set(np.unique([one["mask"] for one in read[12:]])) == {0, 1, 2}
    assert prepared({"nifti": {"path": str(tmp_path), "spacing": 1}}).size("train") == 2 * 36


def test_spacings_between_slices_matter_where_neighbours_go_in(tmp_path):
    values, _ = balls()
    for name, gap in (("a", 3.0), ("b", 5.0)):
        write_dicom(tmp_path / "images" / name, values, name, (gap, 1.0, 1.0))
    prepared({"dicom": str(tmp_path)})
    with pytest.raises(UserError, match=r"a has voxels of 3 x 1 x 1 mm, and b of 5 x 1 x 1 mm"):
        prepared({"dicom": {"path": str(tmp_path), "neighbours": 1}})


def test_volumes_of_one_name_in_two_parts_are_two(tmp_path):
    """Of other patients, as their files say: the spacing of each counts."""
    values, _ = balls()
    for part, gap in (("train", 1.0), ("test", 0.5)):
        write_dicom(tmp_path / part / "images" / "scan1", values, f"patient in {part}", (3.0, gap, gap))
    with pytest.raises(UserError, match=r"train/scan1 has voxels of 1 x 1 mm, and test/scan1 of 0.5 x 0.5 mm"):
        prepared({"dicom": str(tmp_path)})


def test_mixed_planes_are_refused_or_cut_alike(tmp_path):
    values, _ = balls((12, 12, 12))
    write_nifti(tmp_path / "images" / "a.nii.gz", values, (1, 1, 1), axes="LPS")
    write_nifti(tmp_path / "images" / "b.nii.gz", values, (1, 1, 1), axes="LSP")
    with pytest.raises(UserError, match=r"the slices of a are axial, and those of b coronal; give "
                                        r"data.source.nifti.plane, for instance axial"):
        prepared({"nifti": str(tmp_path)})
    read = examples({"nifti": {"path": str(tmp_path), "plane": "axial"}})
    np.testing.assert_array_equal(read[2]["image"], read[14]["image"])


def test_a_volume_of_one_slice_has_no_neighbours(tmp_path):
    values, _ = balls()
    write_dicom(tmp_path / "images" / "whole", values, "a")
    write_dicom(tmp_path / "images" / "single", values[:1], "b")
    assert prepared({"dicom": str(tmp_path)}).size("train") == 13
    with pytest.raises(UserError, match=r"data.source.dicom: single has one slice, and neighbours is 1: a slice alone "
                                        r"has none"):
        prepared({"dicom": {"path": str(tmp_path), "neighbours": 1}})


def changed(folder, **elements):
    """Give all files of a series other elements; None takes one out."""
    for path in sorted(folder.iterdir()):
        file = pydicom.dcmread(path)
        for name, value in elements.items():
            if value is None:
                delattr(file, name)
            else:
                setattr(file, name, value)
        file.save_as(path)


def test_a_tilted_gantry_is_refused(tmp_path):
    write_dicom(tmp_path / "images" / "1", balls()[0])
    changed(tmp_path / "images" / "1", GantryDetectorTilt=0)
    prepared({"dicom": str(tmp_path)})
    changed(tmp_path / "images" / "1", GantryDetectorTilt=-12.5)
    with pytest.raises(UserError, match=r"^data.source.dicom: .*000\.dcm was taken with a gantry tilted by -12\.5 "
                                        r"degrees \(0018,1120\), .*; correct the tilt of the series \(dcm2niix does"):
        prepared({"dicom": str(tmp_path)})


@pytest.mark.parametrize("taken_out", [{"PixelSpacing": None}, {"PixelSpacing": None, "ImageOrientationPatient": None}])
def test_a_spacing_that_is_not_given_is_asked_for_where_it_is_needed_and_else_said(tmp_path, taken_out):
    values, mask = balls()
    write_dicom(tmp_path / "images" / "a", values, "a")
    write_nifti(tmp_path / "masks" / "a.nii.gz", mask)
    known = prepared({"dicom": str(tmp_path)})
    assert known.looked_at({}) is None
    single = "ImageOrientationPatient" in taken_out
    write_dicom(tmp_path / "images" / "b", values[:1] if single else values, "b", (3.0, 0.5, 0.5))
    write_nifti(tmp_path / "masks" / "b.nii.gz", mask[:1] if single else mask)
    changed(tmp_path / "images" / "b", **taken_out)
    source = prepared({"dicom": str(tmp_path)})
    assert str(source.looked_at({})) == (f"2 volumes of {13 if single else 24} slices: 1 without the distance of their "
                                         "pixels, which counts as 1, the first b")
    with pytest.raises(UserError, match=r"data.source.dicom.spacing: b does not say how far its pixels are apart;"):
        prepared({"dicom": {"path": str(tmp_path), "spacing": 1}})
    with pytest.raises(UserError, match=r"data.source.dicom.spacing: b does not say how far its pixels are apart;"):
        Source.read({"dicom": {"path": str(tmp_path), "spacing": 1}}).examples_in(tmp_path / "images")


def test_missing_slices_and_mixed_series_are_named(tmp_path):
    values, _ = balls()
    write_dicom(tmp_path / "images" / "1", values)
    (tmp_path / "images" / "1" / "005.dcm").unlink()
    with pytest.raises(UserError, match=r"the slices of the series of .*000\.dcm are 3.00 to 6.00 mm apart"):
        prepared({"dicom": str(tmp_path)})
    changed = pydicom.dcmread(tmp_path / "images" / "1" / "004.dcm")
    changed.PixelSpacing = [2, 2]
    changed.save_as(tmp_path / "images" / "1" / "004.dcm")
    with pytest.raises(UserError, match=r"004\.dcm is 32 x 40 pixels of 2 x 2 mm, and .*000\.dcm of the same series"):
        prepared({"dicom": str(tmp_path)})


@pytest.mark.parametrize(("spacing", "shape", "message"), [
    ((3.0, 1.0, 1.0), (10, 32, 40), r"the mask of 1, .*1\.nii\.gz, has 10 x 32 x 40 voxels, and it 12 x 32 x 40"),
    ((3.0, 1.5, 1.5), (12, 32, 40), r"the mask of 1, .*, lies elsewhere in the body than it")])
def test_masks_of_other_voxels_are_refused(tmp_path, spacing, shape, message):
    write_dicom(tmp_path / "images" / "1", balls()[0])
    write_nifti(tmp_path / "masks" / "1.nii.gz", balls(shape)[1], spacing)
    with pytest.raises(UserError, match=message):
        prepared({"dicom": str(tmp_path)})


def test_masks_lie_where_their_volumes_do_at_every_corner(tmp_path):
    """A mask that is turned about the line between two corners of its volume is right at these alone; one that is off
    by less than half of a slice may still be off by several pixels."""
    values, mask = balls((12, 12, 12))
    write_nifti(tmp_path / "images" / "1.nii.gz", values, (1.0, 1.0, 1.0))
    own = nibabel.load(tmp_path / "images" / "1.nii.gz").affine
    turned = own.copy()
    turned[:3, :3] = own[:3, :3] @ Rotation.from_rotvec(0.3 * np.ones(3)).as_matrix()
    path = tmp_path / "masks" / "1.nii.gz"
    path.parent.mkdir()
    nibabel.save(nibabel.Nifti1Image(mask, turned), path)
    with pytest.raises(UserError, match=r"the mask of 1, .*, lies elsewhere in the body than it"):
        prepared({"nifti": str(tmp_path)})
    write_nifti(tmp_path / "images" / "1.nii.gz", values, (5.0, 0.5, 0.5))
    own = nibabel.load(tmp_path / "images" / "1.nii.gz").affine
    for millimetres, is_there in ((0.2, True), (2.0, False)):
        shifted = own.copy()
        shifted[0, 3] += millimetres
        nibabel.save(nibabel.Nifti1Image(mask, shifted), path)
        if is_there:
            prepared({"nifti": str(tmp_path)})
        else:
            with pytest.raises(UserError, match="lies elsewhere in the body than it"):
                prepared({"nifti": str(tmp_path)})


def test_masks_with_other_numbers_are_refused(tmp_path):
    values, mask = balls()
    write_nifti(tmp_path / "images" / "1.nii.gz", values)
    write_nifti(tmp_path / "masks" / "1.nii.gz", mask)
    with pytest.raises(UserError, match=r"p?1 slice \d+ has a mask with the class 2, but there are 2 classes"):
        index_of({"nifti": str(tmp_path)}, SemanticSegmentation(), image={"size": 32})
    write_nifti(tmp_path / "masks" / "1.nii.gz", mask.astype("float32") / 2)
    with pytest.raises(UserError, match=r"^data: .*1\.nii\.gz has the value 0\.5; masks are whole numbers"):
        index_of({"nifti": str(tmp_path)}, SemanticSegmentation(), image={"size": 32})


def test_pixels_that_cannot_be_decoded_are_named(tmp_path):
    (tmp_path / "well").mkdir()
    (tmp_path / "ill").mkdir()
    shutil.copy(path_of("MR_truncated.dcm"), tmp_path / "well" / "1.dcm")
    shutil.copy(path_of("MR_small.dcm"), tmp_path / "ill" / "1.dcm")
    with pytest.raises(UserError, match=r"^data.source.dicom: .*1\.dcm \(Explicit VR Little Endian\) cannot be dec"):
        index_of({"dicom": str(tmp_path)}, image={"size": 32})


def test_a_volume_without_its_mask_is_named(tmp_path):
    values, mask = balls()
    for name in ("p2", "p3"):
        write_dicom(tmp_path / "images" / name, values, name)
    write_nifti(tmp_path / "masks" / "p2.nii.gz", mask)
    with pytest.raises(UserError, match=r"data.source.dicom: p3 has no mask in .*masks; it would be .*p3\.nii\.gz"):
        prepared({"dicom": str(tmp_path)})


def test_parts_that_have_masks_classes_or_neither_do_not_go_together(tmp_path):
    values, mask = balls()
    for part in ("train", "test"):
        write_nifti(tmp_path / part / "images" / f"{part}.nii.gz", values)
    write_nifti(tmp_path / "train" / "masks" / "train.nii.gz", mask)
    source = {"nifti": str(tmp_path)}
    with pytest.raises(UserError, match=r"^data.source.nifti: .*train has masks, and .*test no masks; give both"):
        prepared(source)
    write_nifti(tmp_path / "test" / "masks" / "test.nii.gz", mask)
    shutil.rmtree(tmp_path / "train" / "masks")
    with pytest.raises(UserError, match=r"^data.source.nifti: .*train has no masks, and .*test masks; give both"):
        Source.read(source).fingerprint()
    shutil.rmtree(tmp_path / "train")
    for name in ("ill", "well"):
        write_nifti(tmp_path / "train" / name / f"{name}.nii.gz", values)
    with pytest.raises(UserError, match=r"^data.source.nifti: .*train has folders of classes, and .*test masks; give"):
        examples(source, "test")


def test_files_of_several_times_and_damaged_ones_are_named(tmp_path):
    values, _ = balls()
    write_nifti(tmp_path / "images" / "1.nii.gz", np.stack([values] * 2).transpose(1, 2, 3, 0)[..., 0])
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 4, 4, 2), "int16"), np.eye(4)), tmp_path / "images" / "2.nii.gz")
    with pytest.raises(UserError, match=r"2\.nii\.gz has the shape 4 x 4 x 4 x 2; give volumes of three axes"):
        prepared({"nifti": str(tmp_path)})
    (tmp_path / "images" / "2.nii.gz").write_bytes(b"no such thing")
    with pytest.raises(UserError, match=r"2\.nii\.gz is not a NIfTI file, or is damaged"):
        prepared({"nifti": str(tmp_path)})


def test_channels_of_one_volume_are_not_taken_for_patients(tmp_path):
    values, _ = balls()
    for name in ("well/a_0000", "well/a_0001", "well/b_0000", "ill/c_0000"):
        write_nifti(tmp_path / f"{name}.nii.gz", values)
    with pytest.raises(UserError, match=r"^data.source.nifti: .*a_0000\.nii\.gz and .*a_0001\.nii\.gz are channels of "
                                        r"one volume by nnU-Net's names, .* give data.source.nifti.patient$"):
        prepared({"nifti": str(tmp_path)})
    known = Source.read({"nifti": {"path": str(tmp_path), "patient": r"/(\w)"}})
    assert [item.name for item in known.items("train")] == ["ill/c", "well/a_0000", "well/a_0001", "well/b"]
    assert len(set(known.groups("train", "patient", range(48)))) == 3
    (tmp_path / "well" / "a_0001.nii.gz").unlink()
    assert [item.name for item in prepared({"nifti": str(tmp_path)}).items("train")] == ["ill/c", "well/a", "well/b"]


def test_what_is_not_there_says_what_to_give(tmp_path):
    with pytest.raises(UserError, match=r"data.source.nifti.path: .*none is not there; give a folder with the folders"):
        prepared({"nifti": str(tmp_path / "none")})
    (tmp_path / "images").mkdir()
    with pytest.raises(UserError, match=r"images has no nifti files"):
        prepared({"nifti": str(tmp_path)})
    (tmp_path / "images").rename(tmp_path / "only")
    with pytest.raises(UserError, match=r"has no folder images, and no folders of classes, at least two; its folders: "
                                        r"only"):
        prepared({"dicom": str(tmp_path)})
    with pytest.raises(ValidationError, match=r"give millimetres, for instance 1\.5"):
        Source.read({"nifti": {"path": "x", "spacing": [1, 2]}})
    with pytest.raises(ValidationError, match="is no regular expression"):
        Source.read({"nifti": {"path": "x", "patient": "("}})


def test_files_of_the_users_own_that_are_not_there_or_no_volumes_are_named(tmp_path):
    source = Source.read({"dicom": "scans"})
    with pytest.raises(UserError, match=r"1\.dcm: there is no such file or folder"):
        source.examples_in(tmp_path / "1.dcm")
    with pytest.raises(UserError, match=r"has no dicom files in it"):
        source.examples_in(tmp_path)
    (tmp_path / "1.dcm").write_text("no such thing")
    with pytest.raises(UserError, match=r"1\.dcm is not a DICOM file"):
        source.examples_in(tmp_path / "1.dcm")


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "pydicom" else spec(name))
    with pytest.raises(UserError, match=r"data.source: dicom is read by the extra medical: pydicom is not installed; .*"
                                        r"\[medical\]"):
        Source.read({"dicom": "scans"}).fingerprint()
