# SPDX-License-Identifier: GPL-3.0-or-later
"""What the wheels of vLLM and torch really hold: plain literals, read out of the wheels themselves.

Pins are from their metadata; CUDA and compute capabilities from the shared objects in them (which libcudart
they link, the headers of their fat binaries). docs/compatibility.md says how to add a version.
"""

from __future__ import annotations

# vLLM on the Python package index -> the torch that it pins. Newest first.
VLLM = {
    "rows": (
        ("0.33.0", "2.14.0"),
        ("0.32.0", "2.13.0"),
        ("0.31.0", "2.13.0"),
        ("0.30.0", "2.13.0"),
        ("0.29.0", "2.13.0"),
        ("0.28.0", "2.13.0"),
        ("0.27.1", "2.13.0"),
        ("0.27.0", "2.13.0"),
        ("0.26.0", "2.11.0"),
        ("0.25.1", "2.11.0"),
        ("0.25.0", "2.11.0"),
        ("0.24.0", "2.11.0"),
        ("0.23.0", "2.11.0"),
        ("0.22.1", "2.11.0"),
        ("0.22.0", "2.11.0"),
        ("0.21.0", "2.11.0"),
        ("0.20.2", "2.11.0"),
        ("0.20.1", "2.11.0"),
        ("0.20.0", "2.11.0"),
        ("0.19.1", "2.10.0"),
        ("0.19.0", "2.10.0"),
        ("0.18.1", "2.10.0"),
        ("0.18.0", "2.10.0"),
        ("0.17.1", "2.10.0"),
        ("0.17.0", "2.10.0"),
        ("0.16.0", "2.9.1"),
        ("0.15.1", "2.9.1"),
        ("0.15.0", "2.9.1"),
        ("0.14.1", "2.9.1"),
        ("0.14.0", "2.9.1"),
        ("0.13.0", "2.9.0"),
        ("0.12.0", "2.9.0"),
        ("0.11.2", "2.9.0"),
        ("0.11.1", "2.9.0"),
        ("0.11.0", "2.8.0"),
        ("0.10.2", "2.8.0"),
        ("0.10.1.1", "2.7.1"),
        ("0.10.1", "2.7.1"),
        ("0.10.0", "2.7.1"),
        ("0.9.2", "2.7.0"),
        ("0.9.1", "2.7.0"),
        ("0.9.0.1", "2.7.0"),
        ("0.9.0", "2.7.0"),
        ("0.8.5.post1", "2.6.0"),
        ("0.8.5", "2.6.0"),
        ("0.8.4", "2.6.0"),
        ("0.8.3", "2.6.0"),
        ("0.8.2", "2.6.0"),
        ("0.8.1", "2.6.0"),
        ("0.8.0", "2.6.0"),
        ("0.7.3", "2.5.1"),
        ("0.7.2", "2.5.1"),
        ("0.7.1", "2.5.1"),
        ("0.7.0", "2.5.1"),
        ("0.6.6.post1", "2.5.1"),
        ("0.6.6", "2.5.1"),
        ("0.6.5", "2.5.1"),
        ("0.6.4.post1", "2.5.1"),
        ("0.6.4", "2.5.1"),
        ("0.6.3.post1", "2.4.0"),
        ("0.6.3", "2.4.0"),
        ("0.6.2", "2.4.0"),
        ("0.6.1.post2", "2.4.0"),
        ("0.6.1.post1", "2.4.0"),
        ("0.6.1", "2.4.0"),
        ("0.6.0", "2.4.0"),
        ("0.5.5", "2.4.0"),
    ),
    "source": "Requires-Dist of each wheel",
    "checked": "2026-11-25",
}

# The Python that vLLM takes since the version named: this one or newer, and older than that.
VLLM_PYTHONS = {
    "rows": (
        ("0.32.0", "3.11", "3.15"),
        ("0.20.0", "3.10", "3.15"),
        ("0.11.1", "3.10", "3.14"),
        ("0.10.2", "3.9", "3.14"),
        ("0.6.4", "3.9", "3.13"),
        ("0.5.5", "3.8", "3.13"),
    ),
    "source": "Requires-Python of each wheel; the end before 0.8.4 is that of docs.vllm.ai",
    "checked": "2026-11-25",
}

# What vLLM's own kernels are built with, since the version named. `attention` is FlashAttention 2, which has
# native code for these capabilities only; where `attention_ptx` is set, a driver compiles it for newer cards.
VLLM_BUILDS = {
    "rows": (
        {
            "since": "0.20.0",
            "cuda": "13.0",
            "capabilities": ("7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"),
            "attention": ("8.0",),
            "attention_ptx": "8.0",
            "wheels": "0.20.0, 0.21.0, 0.26.0, 0.27.0, 0.33.0",
        },
        {
            "since": "0.12.0",
            "cuda": "12.9",
            "capabilities": ("7.0", "7.5", "8.0", "8.9", "9.0", "10.0", "12.0"),
            "attention": ("8.0",),
            "attention_ptx": "8.0",
            "wheels": "0.12.0, 0.13.0, 0.16.0, 0.17.1, 0.19.1",
        },
        {
            "since": "0.9.2",
            "cuda": "12.8",
            "capabilities": ("7.0", "7.5", "8.0", "8.9", "9.0", "10.0", "12.0"),
            "attention": ("8.0",),
            "attention_ptx": "8.0",
            "wheels": "0.9.2, 0.10.0, 0.10.2, 0.11.0, 0.11.1, 0.11.2",
        },
        {
            "since": "0.9.0",
            "cuda": "12.8",
            "capabilities": ("7.0", "7.5", "8.0", "8.9", "9.0", "10.0"),
            "attention": ("8.0", "9.0", "10.0"),
            "attention_ptx": "",
            "wheels": "0.9.0, 0.9.1",
        },
        {
            "since": "0.8.0",
            "cuda": "12.4",
            "capabilities": ("7.0", "7.5", "8.0", "8.6", "8.9", "9.0"),
            "attention": ("8.0", "9.0"),
            "attention_ptx": "",
            "wheels": "0.8.0, 0.8.5 (they link CUDA 12; the minor is that of the torch they pin)",
        },
        {
            "since": "0.5.5",
            "cuda": "12.1",
            "capabilities": ("7.0", "7.5", "8.0", "8.6", "8.9", "9.0"),
            "attention": ("8.0", "9.0"),
            "attention_ptx": "",
            "wheels": "0.6.6.post1, 0.7.3; the minor from docs.vllm.ai/en/v0.6.6.post1, Installation",
        },
    ),
    "source": "fat binaries of vllm/_C*.so, _moe_C*.so and _vllm_fa2_C*.so in the wheels named",
    "checked": "2026-11-25",
}
ATTENTION_SOURCE = "github.com/vllm-project/vllm/issues/31700 (2026-01-05) and issue 47397 (2026-07-02)"
TORCH_MAJOR_SOURCE = "discuss.vllm.ai/t/2601 (2026): the extension of a CUDA 13 wheel wants libcudart.so.13"

# torch on the Python package index -> the CUDA it brings, and whether its aarch64 wheel has CUDA at all.
TORCH = {
    "rows": (
        ("2.14.0", "13.0", True),
        ("2.13.0", "13.0", True),
        ("2.12.0", "13.0", True),
        ("2.11.0", "13.0", True),
        ("2.10.0", "12.8", False),
        ("2.9.1", "12.8", False),
        ("2.9.0", "12.8", False),
        ("2.8.0", "12.8", False),
        ("2.7.1", "12.6", False),
        ("2.7.0", "12.6", False),
        ("2.6.0", "12.4", False),
        ("2.5.1", "12.4", False),
        ("2.4.0", "12.1", False),
    ),
    "source": "Requires-Dist of each wheel (nvidia-cuda-runtime-cu12, cuda-toolkit)",
    "checked": "2026-11-25",
}

# Compute capabilities that torch's builds hold, by CUDA, for the versions from `since` to `until`. None of
# them has PTX that would serve a newer card.
TORCH_BUILDS = {
    "rows": (
        {
            "cuda": "13.0",
            "since": "2.9.0",
            "until": "2.14.0",
            "capabilities": ("7.5", "8.0", "8.6", "9.0", "10.0", "12.0"),
            "source": "wheels 2.11.0 and 2.14.0; github.com/pytorch/pytorch/issues/172352 for 2.9 and 2.10",
        },
        {
            "cuda": "12.9",
            "since": "2.12.0",
            "until": "2.13.0",
            "capabilities": ("7.5", "8.0", "8.6", "9.0", "10.0", "12.0"),
            "source": "github.com/pytorch/pytorch/pull/188443 (2026-06-29)",
        },
        {
            "cuda": "12.8",
            "since": "2.8.0",
            "until": "2.10.0",
            "capabilities": ("7.0", "7.5", "8.0", "8.6", "9.0", "10.0", "12.0"),
            "source": "wheels 2.8.0, 2.9.1 and 2.10.0",
        },
        {
            "cuda": "12.8",
            "since": "2.7.0",
            "until": "2.7.1",
            "capabilities": ("7.5", "8.0", "8.6", "9.0", "10.0", "12.0"),
            "source": "github.com/vllm-project/vllm/issues/19185 (2025-06)",
        },
        {
            "cuda": "12.6",
            "since": "2.7.0",
            "until": "2.13.0",
            "capabilities": ("5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"),
            "source": "wheel 2.7.1; github.com/jhj0517/Whisper-WebUI/issues/653 (2026-09-20) for later ones",
        },
        {
            "cuda": "12.4",
            "since": "2.4.0",
            "until": "2.6.0",
            "capabilities": ("5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"),
            "source": "wheel 2.6.0",
        },
        {
            "cuda": "12.1",
            "since": "2.4.0",
            "until": "2.5.1",
            "capabilities": ("5.0", "6.0", "7.0", "7.5", "8.0", "8.6", "9.0"),
            "source": "wheel 2.4.0",
        },
    ),
    "checked": "2026-11-25",
}
