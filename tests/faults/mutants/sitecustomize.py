"""Breaks one rule of Holdfast in every process that starts with this folder on its PYTHONPATH.

HOLDFAST_TEST_MUTANT names the file beside this one that does it: its `PATCHES` map a module's name to a function that
changes the module, just after it was imported. What is broken is said on standard error, so that a test can make sure.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import os
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

Patch = Callable[[Any], None]


class Patching(importlib.abc.MetaPathFinder):
    """Finds the modules to be patched as everybody else does, and patches them when they are loaded."""

    def __init__(self, mutant: str, patches: dict[str, Patch]) -> None:
        self.mutant = mutant
        self.patches = patches

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        patch = self.patches.pop(name, None)
        if patch is None:
            return None
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        spec.loader = PatchingLoader(spec.loader, patch, f"mutant {self.mutant}: {name} is broken")
        return spec


class PatchingLoader(importlib.abc.Loader):
    """Loads a module by its own loader, then patches it."""

    def __init__(self, loader: Any, patch: Patch, told: str) -> None:
        self.loader = loader
        self.patch = patch
        self.told = told

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.patch(module)
        print(self.told, file=sys.stderr, flush=True)


chosen = os.environ.get("HOLDFAST_TEST_MUTANT")
if chosen:
    sys.meta_path.insert(0, Patching(chosen, dict(importlib.import_module(chosen).PATCHES)))
