"""Bundles that are published and fetched: whole, signed, never overwritten, refused where a single bit was turned."""
import json
import shutil
import subprocess
import sys
from pathlib import Path

import fsspec
import pytest

from export.delivery import manifest
from export.delivery import publish as delivery
from export.delivery.publish import check, fetch, make_keys, publish


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    private = tmp_path_factory.mktemp("keys") / "release.pem"
    return private, make_keys(private)


@pytest.fixture
def bundle(classified, tmp_path):
    """A copy of a bundle, that a test may change."""
    shutil.copytree(classified.folder, tmp_path / "bundle")
    return tmp_path / "bundle"


def contents(folder):
    """Return the files of a bundle by path, but for the manifest and its signature."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file() and path.name not in (manifest.NAME, manifest.SIGNATURE)}


def with_version(bundle, version):
    path = bundle / manifest.NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": version}))
    return bundle


def test_what_is_published_is_fetched_with_its_signature_checked(bundle, keys, tmp_path):
    private, public = keys
    published = Path(publish(bundle, str(tmp_path / "store"), private))
    assert published == tmp_path / "store" / "tiny" / "1.0.0"
    result = fetch(str(tmp_path / "store"), "tiny", None, tmp_path / "got", public)
    assert (result.version, result.rollback) == ("1.0.0", None)
    assert contents(tmp_path / "got") == contents(bundle)
    assert private.stat().st_mode & 0o077 == 0, "the private key is its owner's alone"


def test_a_version_is_never_overwritten_and_knows_the_one_before(bundle, tmp_path):
    store = str(tmp_path / "store")
    publish(bundle, store)
    with pytest.raises(ValueError, match=r"tiny 1\.0\.0 is published in .* already; give the recipe a new package"):
        publish(bundle, store)
    publish(with_version(bundle, "1.10.0"), store)
    publish(with_version(bundle, "1.9.0"), store)
    assert fetch(store, "tiny", None, tmp_path / "highest").version == "1.10.0"
    assert fetch(store, "tiny", "1.9.0", tmp_path / "middle").rollback == "1.0.0"
    with pytest.raises(ValueError, match=r"tiny 2\.0\.0 is not published in .*; there are 1\.0\.0, 1\.9\.0, 1\.10\.0"):
        fetch(store, "tiny", "2.0.0", tmp_path / "none")
    assert not list((tmp_path / "store" / "tiny").glob(".*")), "nothing half-written stays behind"


def test_an_object_store_has_a_version_when_its_manifest_is_there(bundle, keys, tmp_path):
    private, public = keys
    published = publish(bundle, "memory://models", private)
    assert published.startswith("memory://") and published.endswith("models/tiny/1.0.0")
    assert fetch("memory://models", "tiny", None, tmp_path / "got", public).name == "tiny"
    files = fsspec.filesystem("memory")
    files.rm("/models/tiny/1.0.0/manifest.json")
    with pytest.raises(ValueError, match="nothing called tiny is published"):
        fetch("memory://models", "tiny", None, tmp_path / "again", public)
    publish(bundle, "memory://models", private)
    files.rm("/models", recursive=True)


def flip(path, bit):
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(bytes(content))


def test_a_bit_turned_anywhere_is_refused_and_the_file_named(bundle, keys, tmp_path):
    private, public = keys
    published = Path(publish(bundle, str(tmp_path / "store"), private))
    files = sorted(path for path in published.rglob("*") if path.is_file())
    assert {manifest.NAME, manifest.SIGNATURE} <= {path.name for path in files}
    for number, path in enumerate(files):
        whole = path.read_bytes()
        for bit in {0, 8 * len(whole) - 1, (number * 7919) % (8 * len(whole))}:
            flip(path, bit)
            with pytest.raises(ValueError, match=r".") as raised:
                fetch(str(tmp_path / "store"), "tiny", None, tmp_path / "got", public)
            assert path.relative_to(published).as_posix() in str(raised.value), bit
            assert not (tmp_path / "got").exists()
            path.write_bytes(whole)
    fetch(str(tmp_path / "store"), "tiny", None, tmp_path / "got", public)


@pytest.mark.parametrize(("spoil", "expected"), [
    (lambda folder: (folder / "labels.txt").unlink(), "labels.txt: it is missing"),
    (lambda folder: (folder / "extra.txt").write_text("x"), r"extra.txt: it is not in manifest\.json"),
    (lambda folder: (folder / manifest.SIGNATURE).unlink(), r"manifest\.sig: it is missing"),
    (lambda folder: (folder / manifest.SIGNATURE).write_bytes(b""), r"does not match manifest\.sig")])
def test_what_was_taken_away_or_added_is_named(bundle, keys, tmp_path, spoil, expected):
    private, public = keys
    spoil(Path(publish(bundle, str(tmp_path / "store"), private)))
    with pytest.raises(ValueError, match=expected):
        fetch(str(tmp_path / "store"), "tiny", None, tmp_path / "got", public)


def test_a_manifest_cannot_lead_out_of_its_bundle(bundle):
    path = bundle / manifest.NAME
    known = json.loads(path.read_text())
    known["files"][0]["path"] = "../secret"
    path.write_text(json.dumps(known))
    with pytest.raises(ValueError, match=r"it names \.\./secret, which is outside of the bundle"):
        check(bundle, signed=None)


def test_another_key_does_not_do(bundle, keys, tmp_path):
    publish(bundle, str(tmp_path / "store"), keys[0])
    other = make_keys(tmp_path / "other.pem")
    with pytest.raises(ValueError, match="or another key has signed"):
        fetch(str(tmp_path / "store"), "tiny", None, tmp_path / "got", other)
    with pytest.raises(ValueError, match=r"is not a public key in PEM|is not an Ed25519 public key"):
        fetch(str(tmp_path / "store"), "tiny", None, tmp_path / "got", keys[0])
    with pytest.raises(ValueError, match="cannot be made again, so it is not overwritten"):
        make_keys(tmp_path / "other.pem")


def test_a_folder_that_is_not_a_bundle_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"has no manifest\.json: it is not a bundle"):
        publish(tmp_path, str(tmp_path / "store"))


def test_a_store_that_nobody_knows_is_said_in_a_line(bundle):
    with pytest.raises(ValueError, match="fsspec does not know it"):
        publish(bundle, "nowhere://models")


PUBLISH = """
import sys
from pathlib import Path
from export.delivery import publish
publish.publish(Path(sys.argv[1]), sys.argv[2])
"""


def test_a_publication_that_is_killed_leaves_no_version(bundle, tmp_path):
    """The kernel's own kill, at several moments: the version is whole or not there."""
    (bundle / "large.bin").write_bytes(b"x" * 30_000_000)
    listed = manifest.create(bundle, "tiny", "1.0.0", [], {})
    (bundle / manifest.NAME).write_text(listed.text())
    store = tmp_path / "store"
    for attempt in range(6):
        process = subprocess.Popen([sys.executable, "-c", PUBLISH, str(bundle), str(store)],
                                   cwd=Path(__file__).parents[3])
        try:
            process.wait(timeout=0.15 + 0.25 * attempt)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        published = store / "tiny" / "1.0.0"
        if published.exists():
            check(published, signed=None)
            break
    else:
        publish(bundle, str(store))
    assert delivery.fetch(str(store), "tiny", None, tmp_path / "got").version == "1.0.0"
