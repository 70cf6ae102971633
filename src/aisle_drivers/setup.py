"""Installs this package. Every module ``<x>_node.py`` becomes the executable ``<x>_node``."""

from pathlib import Path
from xml.etree import ElementTree

from setuptools import find_packages, setup

manifest = ElementTree.parse("package.xml").getroot()
package = manifest.findtext("name")
nodes = sorted(module.stem for module in Path(package).glob("*_node.py") if "def main(" in module.read_text())

setup(
    name=package,
    version=manifest.findtext("version"),
    description=manifest.findtext("description"),
    license=manifest.findtext("license"),
    maintainer=manifest.findtext("maintainer"),
    maintainer_email=manifest.find("maintainer").get("email"),
    packages=find_packages(exclude=["test"]),
    package_data={package: ["config/*.yaml"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{package}"]),
        (f"share/{package}", ["package.xml"]),
    ],
    zip_safe=False,
    entry_points={"console_scripts": [f"{node} = {package}.{node}:main" for node in nodes]},
)
