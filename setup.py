"""What pyproject.toml can't say: all packages are found, and csrc, which lies beside them, is installed within.

Their files that are not Python are those that MANIFEST.in names.
"""

from setuptools import find_namespace_packages
from setuptools import find_packages
from setuptools import setup

_KERNELS = ["pytest_kgate.csrc", *(f"pytest_kgate.csrc.{name}" for name in find_namespace_packages("csrc"))]

setup(packages=[*find_packages(include=["pytest_kgate*"]), *_KERNELS], package_dir={"pytest_kgate.csrc": "csrc"})
