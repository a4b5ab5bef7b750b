"""Builds the CPU kernels, where there is a C++ compiler. All else stands in pyproject.toml.

Three objects from the same files: for any processor of this kind, for AVX2 (x86-64-v3) and for AVX-512 (x86-64-v4);
``edgenet.ops.native`` loads the best one that the processor runs. They include neither Python.h nor torch's headers, so
the build needs no torch. They are optional: without a compiler the installation succeeds, and the library runs on its
portable path. So do Windows, whose own compiler does not know the C++ that they are written in, and whatever fails to
compile. No object knows of a version of Python: their names have no tag of one, and neither has the wheel.

``EDGENET_LEVELS=_v4`` builds only the objects that it names, an empty one none; ``EDGENET_CXXFLAGS`` is added to the
options of compiler and linker, after ours. `make sanitize` uses both.
"""

import copy
import os
import platform
import sys

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

SOURCES = [
    "edgenet/ops/native/walk.cpp",
    "edgenet/ops/native/order.cpp",
    "edgenet/ops/kernels/segment_softmax/native.cpp",
    "edgenet/ops/kernels/attention/native.cpp",
    "edgenet/ops/kernels/attention_v2/native.cpp",
    "edgenet/ops/kernels/dropout/native.cpp",
    "edgenet/ops/kernels/xnor/native.cpp",
    "edgenet/ops/kernels/xnor/packing.cpp",
    "edgenet/ops/kernels/codes_linear/native.cpp",
    "edgenet/ops/kernels/unified_linear/native.cpp",
    "edgenet/ops/kernels/gates/native.cpp",
    "edgenet/ops/kernels/sample_neighbors/native.cpp",
]
HEADERS = [f"edgenet/ops/native/{name}.h" for name in ("rows", "walk", "softmax", "lines", "intrinsics", "status")]
HEADERS += ["edgenet/ops/kernels/xnor/forms.h", "edgenet/ops/kernels/codes_linear/unpack.h"]
# no -ffast-math: NaN must spread, and an object linked with it makes the whole process flush denormals
FLAGS = ["-std=c++17", "-O2", "-g0", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=fast"]


def levels(system: str, machine: str, archflags: str = "") -> dict[str, list[str]]:
    """The objects that are built, by name, with the compiler's options for their processors.

    Args:
        system: ``sys.platform``.
        machine: ``platform.machine()``.
        archflags: ``ARCHFLAGS``, by which one object on macOS is for several processors, and for none of them alone.
    """
    if system == "win32":
        return {}
    made: dict[str, list[str]] = {"_base": []}
    if machine.lower() in ("x86_64", "amd64") and "arm64" not in archflags:
        made |= {"_v3": ["-march=x86-64-v3"], "_v4": ["-march=x86-64-v4"]}
    return made


def flags(system: str) -> list[str]:
    """The compiler's options for all objects."""
    psabi = [] if system == "darwin" else ["-Wno-psabi"]  # of gcc; clang warns of it instead
    return [*FLAGS, *psabi]


LEVELS = levels(sys.platform, platform.machine(), os.environ.get("ARCHFLAGS", ""))
MORE_FLAGS = os.environ.get("EDGENET_CXXFLAGS", "").split()
WANTED = os.environ.get("EDGENET_LEVELS", " ".join(LEVELS)).split()


class Build(build_ext):
    def finalize_options(self) -> None:
        super().finalize_options()
        self.parallel = self.parallel or os.cpu_count()

    def get_ext_filename(self, fullname: str) -> str:
        return os.path.join(*fullname.split(".")) + ".so"

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return list(ext.export_symbols or [])  # no PyInit_...: nothing imports them

    def build_extension(self, ext: Extension) -> None:
        one = copy.copy(self)  # a folder of its own: the three have the same sources, and are built at once
        one.build_temp = os.path.join(self.build_temp, ext.name.rpartition(".")[2])
        build_ext.build_extension(one, ext)


class Wheel(bdist_wheel):
    def get_tag(self) -> tuple[str, str, str]:
        return "py3", "none", super().get_tag()[2]


if __name__ == "__main__":
    setup(
        cmdclass={"build_ext": Build, "bdist_wheel": Wheel},
        ext_modules=[
            Extension(
                f"edgenet.ops.native.{name}",
                SOURCES,
                depends=HEADERS,
                language="c++",
                extra_compile_args=[*flags(sys.platform), *LEVELS.get(name, []), *MORE_FLAGS],
                extra_link_args=MORE_FLAGS,
                optional=True,
            )
            for name in WANTED
        ],
    )
