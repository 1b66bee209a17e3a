"""Medical volumes: their values, how they lie, their masks, patients and windows."""
import itertools
import pathlib
import shutil
import tracemalloc

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset

from pipelines.errors import UserError
from pipelines.features import scan
from pipelines.ingest.sources import dicom_series
from pipelines.ingest.sources.source import Source
from pipelines.tasks.image_classification import ImageClassification
from pipelines.tasks.semantic_segmentation import SemanticSegmentation
from tests.pipelines.ingest.conftest import data_of, index_of
from tests.pipelines.ingest.volume_files import AROUND, balls, write_dicom, write_nifti

NAMES = ["around", "bright", "dark"]


def examples(source, part="train"):
    return list(Source.read(source).examples(part).as_numpy_iterator())


def prepared(source):
    read = Source.read(source)
    read.prepare()
    return read


def path_of(name):
    """Return one of pydicom's own files."""
    return pathlib.Path(get_testdata_file(name))


@pytest.fixture
def scans(tmp_path):
    """Return a folder of five patients in both formats, whose masks are NIfTI files."""
    for patient in range(5):
        values, mask = balls(seed=patient)
        write_nifti(tmp_path / "nifti" / "images" / f"p{patient}.nii.gz", values)
        write_dicom(tmp_path / "dicom" / "images" / f"p{patient}", values, patient=f"id{patient}")
        for kind in ("nifti", "dicom"):
            write_nifti(tmp_path / kind / "masks" / f"p{patient}.nii.gz", mask)
    return tmp_path


@pytest.mark.parametrize("kind", ["nifti", "dicom"])
def test_slices_have_their_values_and_masks(scans, kind):
    values, mask = balls(seed=0)
    read = examples({kind: str(scans / kind)})
    assert len(read) == 5 * 12 == prepared({kind: str(scans / kind)}).size("train")
    assert read[3]["id"] == b"p0 slice 3" and read[3]["patient"] == (b"p0" if kind == "nifti" else b"id0")
    for number in range(12):
        np.testing.assert_array_equal(read[number]["image"][..., 0], values[number])
        np.testing.assert_array_equal(read[number]["mask"], mask[number])


@pytest.mark.parametrize("axes", ["RAS", "LPS", "SRA", "PIR", "ILA"])
def test_a_volume_lies_alike_however_its_file_is_written(tmp_path, axes):
    values, mask = balls()
    write_nifti(tmp_path / "images" / "1.nii.gz", values, axes=axes)
    write_nifti(tmp_path / "masks" / "1.nii.gz", mask, axes="RAS")
    read = examples({"nifti": {"path": str(tmp_path), "plane": "axial"}})
    np.testing.assert_array_equal([one["image"][..., 0] for one in read], values)
    np.testing.assert_array_equal([one["mask"] for one in read], mask)


def test_planes_are_cut_as_radiologists_look_at_them(tmp_path):
    values, mask = balls()
    write_nifti(tmp_path / "images" / "1.nii", values, axes="RAS")
    write_nifti(tmp_path / "masks" / "1.nii", mask)
    coronal = examples({"nifti": {"path": str(tmp_path), "plane": "coronal"}})
    np.testing.assert_array_equal([one["image"][..., 0] for one in coronal], values[::-1, ::-1].transpose(1, 0, 2),
                                  err_msg="from behind on, the head above, the right on the left")
    sagittal = examples({"nifti": {"path": str(tmp_path), "plane": "sagittal"}})
    np.testing.assert_array_equal([one["mask"] for one in sagittal], mask[::-1].transpose(2, 0, 1),
                                  err_msg="from the right on, the head above, the front on the left")


def test_neighbours_are_further_channels(scans):
    values, _ = balls(seed=0)
    read = examples({"dicom": {"path": str(scans / "dicom"), "neighbours": 2}})
    np.testing.assert_array_equal(read[5]["image"], np.moveaxis(values[3:8], 0, -1))
    np.testing.assert_array_equal(read[0]["image"], np.moveaxis(values[[0, 0, 0, 1, 2]], 0, -1))
    np.testing.assert_array_equal(read[11]["image"][..., 2:], np.moveaxis(values[[11, 11, 11]], 0, -1))


def test_positions_choose_slices(scans):
    source = Source.read({"nifti": str(scans / "nifti")})
    chosen = list(source.examples("train", [1, 13, 59]).as_numpy_iterator())
    assert [one["id"] for one in chosen] == [b"p0 slice 1", b"p1 slice 1", b"p4 slice 11"]


def test_slices_are_in_the_order_of_their_places(tmp_path):
    values, _ = balls()
    write_dicom(tmp_path / "images" / "1", values, order=np.random.default_rng(0).permutation(12))
    np.testing.assert_array_equal([one["image"][..., 0] for one in examples({"dicom": str(tmp_path)})], values)


def test_numbers_are_rescaled_and_keep_16_bits(tmp_path):
    values, _ = balls()
    values = values * 20  # to 18,000 on either side
    write_dicom(tmp_path / "images" / "1", values, slope=2, intercept=-32_768)
    read = examples({"dicom": str(tmp_path)})[4]["image"][..., 0]
    np.testing.assert_array_equal(read, (values[4].astype(int) // 2) * 2)


def test_dark_that_is_written_as_large_is_dark(tmp_path):
    values, _ = balls()
    write_dicom(tmp_path / "images" / "1", values, photometric="MONOCHROME1")
    read = examples({"dicom": str(tmp_path)})[4]["image"][..., 0]
    np.testing.assert_array_equal(read, 65_535 - (values[4].astype(int) + 1024) - 1024)


def test_pydicoms_own_files():
    small = dicom_series.header(path_of("CT_small.dcm"))
    grid, frames = dicom_series.grid(small.frames)
    assert grid.shape == (1, 128, 128) and grid.plane == "axial"
    assert grid.spacing == pytest.approx((1.0, 0.661468, 0.661468))
    raw = pydicom.dcmread(path_of("CT_small.dcm"))
    np.testing.assert_array_equal(dicom_series.values(frames)[0], raw.pixel_array.astype(int) - 1024)


def write_frames(path, values, rescalings):
    """Write a file of many frames as an enhanced scanner does: places and rescaling stand with each frame.

    Args:
        rescalings: slope and intercept of each frame, or of all.
    """
    write_dicom(path.parent, values[:1])
    file = pydicom.dcmread(path.parent / "000.dcm")
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(file, name)
    shared = Dataset()
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence[0].PixelSpacing = [2, 1]
    frames = [Dataset() for _ in values]
    for number, frame in enumerate(frames):
        frame.PlanePositionSequence = [Dataset()]
        frame.PlanePositionSequence[0].ImagePositionPatient = [0, 0, 33 - 3 * number]
    for groups, (slope, intercept) in zip(frames if len(rescalings) > 1 else [shared], rescalings, strict=True):
        groups.PixelValueTransformationSequence = [Dataset()]
        groups.PixelValueTransformationSequence[0].RescaleSlope = slope
        groups.PixelValueTransformationSequence[0].RescaleIntercept = intercept
    file.SharedFunctionalGroupsSequence, file.PerFrameFunctionalGroupsSequence = [shared], frames
    file.NumberOfFrames = len(values)
    slopes, intercepts = np.array(rescalings, float).T[..., None, None]
    file.PixelData = ((values[::-1].astype(int) - intercepts) / slopes).round().astype("<u2").tobytes()
    file.save_as(path)


@pytest.mark.parametrize("rescalings", [
    pytest.param([(1, -1024)], id="of all"),
    pytest.param([(1 + number % 3, -1024 - 7 * number) for number in range(12)], id="of each")])
def test_files_of_many_frames_are_read_as_their_groups_say(tmp_path, rescalings):
    values, _ = balls()
    write_frames(tmp_path / "many.dcm", values, rescalings)
    grid, ordered = dicom_series.grid(dicom_series.header(tmp_path / "many.dcm").frames)
    assert grid.shape == values.shape and grid.spacing == (3, 2, 1)
    rounding = (max(slope for slope, _ in rescalings) - 1) / 2  # of the numbers that are stored
    np.testing.assert_allclose(dicom_series.values(ordered), values, atol=rounding, rtol=0)


@pytest.mark.parametrize("name", ["MR_small_bigendian.dcm", "MR_small_RLE.dcm", "MR_small_implicit.dcm"])
def test_all_ways_of_writing_are_read_alike(name):
    expected = dicom_series.values(dicom_series.header(path_of("MR_small.dcm")).frames)
    np.testing.assert_array_equal(dicom_series.values(dicom_series.header(path_of(name)).frames), expected)


def test_no_patient_is_in_two_splits(scans):
    index = index_of({"dicom": str(scans / "dicom")}, SemanticSegmentation(), mask={"names": NAMES},
                     image={"size": [32, 40]})
    patients = {part: {position // 12 for position in split.positions} for part, split in index.splits.items()}
    assert sum(map(len, patients.values())) == 5 and all(patients.values())
    assert index.inputs["image"].shape == (32, 40, 1) and index.inputs["image"].dtype == "float32"


def test_a_patient_with_two_series_is_one(tmp_path):
    for number, patient in itertools.product(range(2), range(4)):
        write_nifti(tmp_path / "images" / f"sub-{patient}_run-{number}.nii.gz", balls()[0])
        write_nifti(tmp_path / "masks" / f"sub-{patient}_run-{number}.nii.gz", balls()[1])
    source = {"nifti": {"path": str(tmp_path), "patient": r"(sub-\d+)"}}
    assert len(set(Source.read(source).groups("train", "patient", range(96)))) == 4
    index = index_of(source, SemanticSegmentation(), mask={"names": NAMES}, image={"size": 32})
    patients = {part: {position // 24 for position in split.positions} for part, split in index.splits.items()}
    assert sum(map(len, patients.values())) == 4
    with pytest.raises(UserError, match=r"data.source.nifti.patient: id\(\\d\) finds nothing in sub-0_run-0"):
        Source.read({"nifti": {"path": str(tmp_path), "patient": r"id(\d)"}}).groups("train", "patient", [0])


def test_folders_of_classes_label_their_volumes(tmp_path):
    values, _ = balls()
    for number in range(4):
        write_dicom(tmp_path / "well" / f"w{number}", values[:2], f"w{number}")
        write_dicom(tmp_path / "ill" / "all", values[number:number + 1], f"i{number}")
        for file in (tmp_path / "ill" / "all").glob("000.dcm"):
            file.rename(tmp_path / "ill" / f"{number}.dcm")
    shutil.rmtree(tmp_path / "ill" / "all")
    index = index_of({"dicom": str(tmp_path)}, ImageClassification(), image={"size": 32}, test=0.3)
    assert index.names("label") == ["ill", "well"]
    assert sum(split.examples for split in index.splits.values()) == 4 + 8
    read = examples({"dicom": str(tmp_path)})
    assert [one["id"] for one in read[:2]] == [b"ill/0 slice 0", b"ill/1 slice 0"] and read[-1]["label"] == 1


def test_parts_are_folders_and_share_no_patient(tmp_path):
    values, mask = balls()
    for part, name in (("train", "a"), ("val", "b"), ("test", "c")):
        write_nifti(tmp_path / part / "images" / f"{name}.nii.gz", values)
        write_nifti(tmp_path / part / "masks" / f"{name}.nii.gz", mask)
    source = {"nifti": str(tmp_path)}
    index = index_of(source, SemanticSegmentation(), mask={"names": NAMES}, image={"size": 32})
    assert {part: split.examples for part, split in index.splits.items()} == dict.fromkeys(index.splits, 12)
    for folder in ("images", "masks"):
        shutil.copy(tmp_path / "train" / folder / "a.nii.gz", tmp_path / "test" / folder / "a.nii.gz")
    with pytest.raises(UserError, match=r"data: the patient a is in train and in test"):
        index_of(source, SemanticSegmentation(), mask={"names": NAMES}, image={"size": 32})


def test_folders_of_nnu_net_are_read(tmp_path):
    values, mask = balls()
    write_nifti(tmp_path / "imagesTr" / "case_001_0000.nii.gz", values)
    write_nifti(tmp_path / "labelsTr" / "case_001.nii.gz", mask)
    read = examples({"nifti": {"path": str(tmp_path), "images": "imagesTr", "masks": "labelsTr"}})
    np.testing.assert_array_equal(read[4]["mask"], mask[4])


def test_the_window_is_learnt_of_the_training_images_or_given(scans):
    source = {"nifti": {"path": str(scans / "nifti"), "neighbours": 1}}
    data = data_of(source, SemanticSegmentation(), mask={"names": NAMES}, image={"size": [32, 40]})
    low, high = data.index.learnt["image"].statistics["window"]
    assert -960 < low < AROUND < 800 < high < 960 and data.real_inputs
    given = data_of(source, SemanticSegmentation(), mask={"names": NAMES},
                    image={"size": [32, 40], "window": {"level": 40, "width": 400}})
    assert given.index.learnt["image"].statistics["window"] == [-160, 240]
    assert given.index.inputs["image"].shape == (32, 40, 3)
    assert given.index.inputs["image"].meaning.endswith("-160 is black, 240 white")


def test_a_window_of_images_of_8_bits_is_refused():
    with pytest.raises(UserError, match=r"data.image.window is for scans of more than 8 bits, and the source's images"):
        index_of("nuclei", SemanticSegmentation(), image={"size": 128, "window": {"level": 1, "width": 2}})


def test_augmentation_moves_scans_with_black_around_and_keeps_their_values(scans):
    source = {"nifti": str(scans / "nifti")}
    window = {"level": 0, "width": 4000}
    settings = {"mask": {"names": NAMES}, "image": {"size": [32, 40], "window": window}, "batch": 4}
    data = data_of(source, SemanticSegmentation(), augment=[{"shift": 0.4}], **settings)
    inputs, _ = next(iter(data.training(0, 1).as_numpy_iterator()))
    values = inputs["image"]
    assert values.min() == pytest.approx(-2000, abs=0.01), "what comes from outside is as black as the window"
    plain, _ = next(iter(data_of(source, SemanticSegmentation(), **settings).training(0, 1).as_numpy_iterator()))
    known = values > -1999
    assert known.mean() > 0.3 and np.abs(np.median(values[known]) - np.median(plain["image"])) < 30


def test_a_part_may_lack_a_class_and_has_the_numbers_of_the_training_part(tmp_path):
    values, _ = balls()
    for folder in ("train/cold", "train/ill", "train/well", "test/ill", "test/well"):
        write_nifti(tmp_path / folder / f"{folder.replace('/', '_')}.nii.gz", values[:2])
    source = Source.read({"nifti": str(tmp_path)})
    assert [(item.name.split("/")[0], item.label) for item in source.items("test")] == [("ill", 1), ("well", 2)]
    write_nifti(tmp_path / "test/other/x.nii.gz", values[:2])
    with pytest.raises(UserError, match="has classes that the training part lacks: other"):
        source.items("test")


def test_files_that_are_called_by_numbers_with_dots_are_found(tmp_path):
    values, _ = balls()
    write_dicom(tmp_path / "a", values[:3], "a")
    for number, file in enumerate(sorted((tmp_path / "a").iterdir())):
        file.rename(file.with_name(f"1.2.840.113619.2.{number}"))
    (tmp_path / "a" / "notes.55").write_text("no scan")
    assert len(dicom_series.files(tmp_path)) == 3


def test_names_of_numbers_with_dots_are_kept_whole(tmp_path):
    """Two series in one folder, each of one file: 1.2.840.1 and 1.2.840.2 are two volumes."""
    for number in (1, 2):
        write_dicom(tmp_path / str(number), balls()[0][:1], f"p{number}")
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / str(number) / "000.dcm").rename(tmp_path / "images" / f"1.2.840.{number}")
    write_dicom(tmp_path / "images", balls()[0][:1], "p3")
    names = [item.name for item in Source.read({"dicom": str(tmp_path)}).items("train")]
    assert names == ["000", "1.2.840.1", "1.2.840.2"]


def test_a_window_is_learnt_without_keeping_the_images():
    """Of a slice of 3 MB only what is looked at stays in memory."""
    tracemalloc.start()
    values = scan._percentiles(np.full((512, 512, 3), number, "int16") for number in range(30))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert values[1] > 25 and most < 8 * 2**20
