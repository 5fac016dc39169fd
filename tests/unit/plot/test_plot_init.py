import subprocess
import sys

import pytest

import interp.plot


def test_plotting_loads_neither_pyplot_nor_torch():
    code = (
        "import sys, interp.plot as p\n"
        "assert 'matplotlib' not in sys.modules\n"
        "for name in p.__all__: getattr(p, name)\n"
        "print([m for m in ('torch', 'matplotlib.pyplot') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_every_public_name_is_listed_once_and_loads():
    assert len(set(interp.plot.__all__)) == len(interp.plot.__all__)
    assert dir(interp.plot) == interp.plot.__all__
    assert all(callable(getattr(interp.plot, name)) for name in interp.plot.__all__)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="plot_mapp"):
        interp.plot.plot_mapp  # noqa: B018
