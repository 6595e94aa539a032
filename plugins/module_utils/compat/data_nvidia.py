# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of NVIDIA's drivers and platforms: plain literals, with who says so and when it was read.

No logic here; `matrix.py` looks things up. A fact without a source does not belong here.
"""

from __future__ import annotations

# Minor-version compatibility: a program of this CUDA major starts with this driver or a newer one.
CUDA_MAJORS = {
    "rows": (("11", "450.80.02"), ("12", "525.60.13"), ("13", "580.65.06")),
    "source": "docs.nvidia.com/deploy/cuda-compatibility/minor-version-compatibility.html",
    "checked": "2026-11-25",
}

# The driver that came with each toolkit, and so compiles the PTX of it (GA releases).
CUDA_TOOLKITS = {
    "rows": (
        ("13.3", "610.43.02"),
        ("13.2", "595.45.04"),
        ("13.1", "590.44.01"),
        ("13.0", "580.65.06"),
        ("12.9", "575.51.03"),
        ("12.8", "570.26"),
        ("12.6", "560.28.03"),
        ("12.5", "555.42.02"),
        ("12.4", "550.54.14"),
        ("12.3", "545.23.06"),
        ("12.2", "535.54.03"),
        ("12.1", "530.30.02"),
        ("12.0", "525.60.13"),
        ("11.8", "520.61.05"),
        ("11.7", "515.43.04"),
        ("11.6", "510.39.01"),
        ("11.5", "495.29.05"),
        ("11.4", "470.42.01"),
        ("11.3", "465.19.01"),
        ("11.2", "460.27.03"),
        ("11.1", "455.23"),
        ("11.0", "450.51.05"),
    ),
    "source": "docs.nvidia.com/cuda/cuda-toolkit-release-notes, Corresponding Driver Versions",
    "checked": "2026-11-25",
}

# The first CUDA that has a card's compute capability, and with it the first driver.
CARDS = {
    "rows": (
        ("12.1", "12.9"),
        ("12.0", "12.8"),
        ("11.0", "13.0"),
        ("10.3", "12.9"),
        ("10.0", "12.8"),
        ("9.0", "11.8"),
        ("8.9", "11.8"),
        ("8.6", "11.1"),
        ("8.0", "11.0"),
    ),
    "source": "docs.nvidia.com/cuda/cuda-toolkit-release-notes of 11.0, 11.1, 11.8, 12.8, 12.9, 13.0",
    "checked": "2026-11-25",
}

# Branches from which NVIDIA's own images of this CUDA let their compat package start (their
# NVIDIA_REQUIRE_CUDA, the data-centre brands). Branches that serve the CUDA themselves are not listed.
FORWARD_BRANCHES = {
    "rows": (
        ("13.2", (535, 570, 580, 590)),
        ("13.0", (535, 550, 565, 570, 575)),
        ("12.9", (535, 550, 560, 565, 570)),
        ("12.8", (470, 535, 550, 560, 565)),
        ("12.6", (470, 535, 550)),
    ),
    "source": "gitlab.com/nvidia/container-images/cuda, dist/<version>/*/base/Dockerfile",
    "checked": "2026-11-25",
}
FORWARD_SOURCE = "docs.nvidia.com/deploy/cuda-compatibility/forward-compatibility.html (2026-11-25)"
FORWARD_ERRORS = {
    "older": "github.com/gpustack/gpustack/issues/4678 (2026-02), github.com/NVIDIA-NeMo/labs-molt/pull/44",
    "card": "github.com/vllm-project/vllm/issues/4940 (2024-06-03)",
}

# The two flavours of the kernel module, by compute capability and platform.
FLAVOURS = {
    "open_from": "7.5",  # needs the GSP, which came with Turing
    "open_only_from": "10.0",
    "open_only_platforms": ("gh200",),
    "old_cards_last_branch": 580,  # Maxwell, Pascal and Volta end with it
    "source": (
        "docs.nvidia.com/datacenter/tesla/driver-installation-guide/kernel-modules.html; NVIDIA's blog "
        "'transitions fully towards open-source GPU kernel modules' (2024-07-17)"
    ),
    "old_cards_source": "forums.developer.nvidia.com/t/60588, feature deprecation schedule (2025-07)",
    "checked": "2026-11-25",
}

# Fabrics. `nvlsm` and `modules` are needed beside fabric manager; `imex` stands in its place.
PLATFORMS = {
    "hgx-b200": {"nvlsm": True, "modules": ("ib_umad",), "imex": False, "driver": "570.133.20"},
    "hgx-b300": {"nvlsm": True, "modules": ("ib_umad",), "imex": False, "driver": ""},
    "gb200-nvl72": {"nvlsm": False, "modules": (), "imex": True, "driver": ""},
    "gb300-nvl72": {"nvlsm": False, "modules": (), "imex": True, "driver": ""},
    "gh200": {"nvlsm": False, "modules": (), "imex": False, "driver": ""},
}
PLATFORM_SOURCES = {
    "fabric_manager": "docs.nvidia.com/datacenter/tesla/fabric-manager-user-guide (2026-11-25)",
    "fabric_manager_missing": "github.com/gpustack/gpustack/issues/1254 (2025-02-20, CUDA error 802)",
    "fabric_manager_useless": "github.com/NVIDIA/gpu-operator/issues/610 (2023-11-15, NV_WARN_NOTHING_TO_DO)",
    "nvlsm": "github.com/siderolabs/extensions/pull/717 (2025-05-31), which quotes the Fabric Manager guide",
    "modules": "github.com/spectrocloud/CanvOS/pull/700 (2026-07-20)",
    "imex": "docs.nvidia.com/multi-node-nvlink-systems/mnnvl-user-guide/overview.html (2025-10-30)",
    "imex_version": "github.com/Azure/azhpc-images/pull/561 (2026-06-19)",
    "driver": "github.com/NVIDIA/cloud-native-docs/pull/184 (2025-06-02)",
}

# The container toolkit hands IMEX channels to containers from here on.
TOOLKIT_IMEX = {
    "version": "1.15.0",
    "source": "github.com/NVIDIA/libnvidia-container/releases/tag/v1.15.0 (2024-04)",
    "checked": "2026-11-25",
}

# Modules that do not compile on a kernel.
KERNELS = (
    {
        "driver": "550.163.01",
        "flavour": "open",
        "driver_source": "debian",
        "revisions": ("", "1", "2"),
        "kernels": ("6.12.107", "6.12.117"),
        "why": "pci_resize_resource() takes other arguments there, and the module does not compile",
        "source": "seen with nvidia-open-kernel-dkms 550.163.01-2 on Debian 13",
        "checked": "2026-11-25",
    },
)

REQUIRE_SOURCE = "github.com/NVIDIA/libnvidia-container, src/cli/dsl.c (2026-11-25)"
