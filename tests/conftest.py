"""For all tests: no network, and a small job on the bundled model (120 of its cities, 99 permutations)."""

import os
import socket
from pathlib import Path

# before torch is imported: test processes share the cores, and threads that wait for each other are slower than one
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

from analyses.job import RunConfig


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Refuse every connection but local ones, so that "offline" is shown and not claimed."""
    connect = socket.socket.connect

    def refuse(self, address):
        if self.family == socket.AF_UNIX or (isinstance(address, tuple) and address[0] in ("127.0.0.1", "::1")):
            return connect(self, address)
        raise OSError(f"a test tried to reach {address}; tests are offline")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", refuse)
        yield


@pytest.fixture
def fixed_commit(monkeypatch):
    """Keep the provenance of two runs equal although somebody commits between them."""
    monkeypatch.setattr("interp.provenance.git_commit", lambda _: "0" * 40)


@pytest.fixture(scope="session")
def small_places(tmp_path_factory) -> Path:
    from analyses.geospatial import load_places

    path = tmp_path_factory.mktemp("places") / "places.csv"
    load_places("atlas").head(120).to_csv(path, index=False)
    return path


@pytest.fixture
def small_config(small_places) -> RunConfig:
    return RunConfig(("geospatial",), places=str(small_places), permutations=99)


@pytest.fixture(scope="session")
def chrome(tmp_path_factory):
    """A headless browser; whoever has none skips what needs it."""
    from chrome import Chrome, find_chromium

    program = find_chromium()
    if program is None:
        pytest.skip("no Chromium or Chrome is installed (CHROME names one)")
    with Chrome(program, tmp_path_factory.mktemp("profile")) as browser:
        yield browser
