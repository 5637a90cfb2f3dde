import importlib

import pytest

from engine.devices.tensorrt.library import load_tensorrt
from engine.errors import LibraryMissing
from engine.plans.key import Flavour


def test_where_there_is_none_the_message_says_what_was_tried(monkeypatch):
    def missing(name):
        raise ImportError(f"No module named {name!r}")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(LibraryMissing, match=r"tensorrt: No module.*tensorrt_rtx_bindings: No mod"):
        load_tensorrt()


def test_a_flavour_can_be_asked_for(monkeypatch):
    tried = []

    def missing(name):
        tried.append(name)
        raise OSError("libnvinfer.so.10: cannot open shared object file")

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(LibraryMissing, match="libnvinfer"):
        load_tensorrt(Flavour.TENSORRT)
    assert tried == ["tensorrt"]


def test_what_is_loaded_says_which_it_is():
    try:
        library = load_tensorrt(Flavour.RTX)
    except LibraryMissing as error:
        pytest.skip(str(error))
    assert library.name == f"tensorrt_rtx {library.module.__version__}"
