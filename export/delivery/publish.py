"""Bundles on their way to apps: published once under a version, signed, and checked when they are fetched.

`<destination>/<name>/<version>/` holds a bundle. On a file system the folder is put there in one rename; on an object
store its manifest is written last, and a version without a manifest is not there.
"""
from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from etils import epy
from pydantic import ValidationError

from export.delivery import manifest
from export.delivery.manifest import NAME, SIGNATURE, Manifest
from export.errors import first_line
from export.whole import whole

with epy.lazy_imports():
    import fsspec
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519


def make_keys(private: Path) -> Path:
    """Write an Ed25519 key (RFC 8032) to sign with, and beside it `<name>.pub`, to check with; return the latter.

    Raises:
        ValueError: there is a file already.
    """
    public = private.with_name(private.name + ".pub")
    for path in (private, public):
        if path.exists():
            raise ValueError(f"{path} is there already; a key that is lost cannot be made again, so it is not "
                             "overwritten")
    key = ed25519.Ed25519PrivateKey.generate()
    secret = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
                               serialization.NoEncryption())
    with open(os.open(private, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret)
    public.write_bytes(key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    return public


def publish(bundle: Path, destination: str, key: Path | None = None) -> str:
    """Publish a bundle; return where it is now.

    Args:
        bundle: its folder.
        destination: a local folder, or a URL that fsspec knows, such as s3://bucket/models or gs://bucket/models.
        key: the private key to sign the manifest with.

    Raises:
        ValueError: the folder is not a whole bundle, the version is published already, or the key or the destination
            cannot be used.
    """
    listed = check(bundle, signed=None)
    signer = _private(key) if key is not None else None
    files, root = _file_system(destination)
    target = f"{root}/{listed.name}/{listed.version}"
    if files.exists(f"{target}/{NAME}"):
        raise ValueError(f"{listed.name} {listed.version} is published in {destination} already; give the recipe a new "
                         "package.version")
    earlier = [version for version in _versions(files, f"{root}/{listed.name}")
               if _order(version) < _order(listed.version)]
    if listed.rollback is None and earlier:
        listed = listed.model_copy(update={"rollback": earlier[-1]})
    text = listed.text().encode()
    written = {NAME: text, **({SIGNATURE: signer.sign(text)} if signer is not None else {})}
    if _is_local(files):
        _put_in_one_rename(bundle, listed, written, Path(target))
        return target
    for one in listed.files:
        files.put_file(str(bundle / one.path), f"{target}/{one.path}")
    for name in sorted(written, reverse=True):  # the signature, then the manifest
        files.pipe_file(f"{target}/{name}", written[name])
    return files.unstrip_protocol(target)


def fetch(source: str, name: str, version: str | None, target: Path, public: Path | None = None) -> Manifest:
    """Fetch a published bundle, every file of it checked, into a folder that is not there yet; return its manifest.

    Args:
        source: where it was published.
        version: the highest where not given.
        target: the folder to be made.
        public: the key to check the manifest's signature with.

    Raises:
        ValueError: there is no such version, or a file of it was altered; the message names the file.
    """
    if target.exists():
        raise ValueError(f"{target} is there already; give a folder that is not")
    files, root = _file_system(source)
    versions = _versions(files, f"{root}/{name}")
    if not versions:
        raise ValueError(f"nothing called {name} is published in {source}")
    if version is not None and version not in versions:
        raise ValueError(f"{name} {version} is not published in {source}; there are {', '.join(versions)}")
    version = version or versions[-1]
    folder = f"{root}/{name}/{version}"
    with whole(target) as beside:
        for path in files.find(folder):
            own = beside / PurePosixPath(path).relative_to(folder)
            own.parent.mkdir(parents=True, exist_ok=True)
            files.get_file(path, str(own))
        listed = check(beside, signed=public)
        if (listed.name, listed.version) != (name, version):
            raise ValueError(f"{NAME}: it is of {listed.name} {listed.version}, and lies where {name} {version} should")
    return listed


def check(folder: Path, signed: Path | None) -> Manifest:
    """Check every file of a bundle against its manifest, and the manifest against its signature; return the manifest.

    Args:
        signed: the public key; without it the signature is not looked at.

    Raises:
        ValueError: a file is missing, altered, or not in the manifest; the message names it.
    """
    path = folder / NAME
    if not path.is_file():
        raise ValueError(f"{folder} has no {NAME}: it is not a bundle, or one that was not published to its end")
    text = path.read_bytes()
    if signed is not None:
        _check_signature(folder, text, signed)
    try:
        listed = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise ValueError(f"{NAME}: it is damaged ({error.errors()[0]['msg']})") from error
    for one in listed.files:
        _check_file(folder, one)
    names = {one.path for one in listed.files} | {NAME, SIGNATURE}
    for own in sorted(folder.rglob("*")):
        if own.is_file() and own.relative_to(folder).as_posix() not in names:
            raise ValueError(f"{own.relative_to(folder).as_posix()}: it is not in {NAME}")
    return listed


def _check_file(folder: Path, listed: manifest.File) -> None:
    inside = PurePosixPath(listed.path)
    if inside.is_absolute() or ".." in inside.parts:
        raise ValueError(f"{NAME}: it names {listed.path}, which is outside of the bundle")
    own = folder / listed.path
    if not own.is_file():
        raise ValueError(f"{listed.path}: it is missing")
    if own.stat().st_size != listed.bytes or manifest.sha256(own) != listed.sha256:
        raise ValueError(f"{listed.path}: it was altered: it does not match its digest in {NAME}")


def _check_signature(folder: Path, text: bytes, public: Path) -> None:
    from cryptography.exceptions import InvalidSignature  # not lazily: it is caught

    path = folder / SIGNATURE
    if not path.is_file():
        raise ValueError(f"{SIGNATURE}: it is missing: the bundle was published without a key")
    try:
        _public(public).verify(path.read_bytes(), text)
    except InvalidSignature:
        raise ValueError(f"{NAME} does not match {SIGNATURE}: one of the two was altered, or another key has "
                         "signed") from None


def _put_in_one_rename(bundle: Path, listed: Manifest, written: dict[str, bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with whole(target) as beside:
            for one in listed.files:
                own = beside / one.path
                own.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(bundle / one.path, own)
            for name, content in written.items():
                (beside / name).write_bytes(content)
    except OSError as error:  # the disk is full, or another has published meanwhile
        raise ValueError(f"{listed.name} {listed.version} cannot be put to {target}: {error.strerror}") from error


def _file_system(destination: str) -> tuple[Any, str]:
    """Return the file system of a destination, and the path in it. Raises ValueError."""
    try:
        files, root = fsspec.core.url_to_fs(destination)
    except ImportError as error:
        raise ValueError(f"{destination}: {' '.join(str(error).split())}") from error
    except ValueError as error:
        raise ValueError(f"{destination}: fsspec does not know it ({error})") from error
    return files, root.rstrip("/")


def _is_local(files: Any) -> bool:
    return "file" in ((files.protocol,) if isinstance(files.protocol, str) else files.protocol)


def _versions(files: Any, folder: str) -> list[str]:
    """Return the published versions below a folder, the lowest first."""
    try:
        names = [PurePosixPath(path).name for path in files.ls(folder, detail=False)]
    except FileNotFoundError:
        return []
    return sorted((name for name in names if _order(name) and files.exists(f"{folder}/{name}/{NAME}")), key=_order)


def _order(version: str) -> tuple[int, ...]:
    """Return what versions are ordered by; empty where a name is not a version."""
    parts = version.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        return ()
    return tuple(map(int, parts))


def _private(path: Path) -> ed25519.Ed25519PrivateKey:
    return _key(path, lambda data: serialization.load_pem_private_key(data, None), "Ed25519PrivateKey", "private")


def _public(path: Path) -> ed25519.Ed25519PublicKey:
    return _key(path, serialization.load_pem_public_key, "Ed25519PublicKey", "public")


def _key(path: Path, load: Callable[[bytes], Any], kind: str, which: str) -> Any:
    try:
        key = load(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"there is no key {path}; litepress keys makes a pair") from None
    except (ValueError, TypeError, OSError) as error:
        raise ValueError(f"{path} is not a {which} key in PEM: {first_line(error)[:100]}") from error
    if not isinstance(key, getattr(ed25519, kind)):
        raise ValueError(f"{path} is not an Ed25519 {which} key; litepress keys makes a pair")
    return key
