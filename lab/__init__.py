# SPDX-License-Identifier: GPL-3.0-or-later
"""Disposable hosts of the lab: the whole site inside one network namespace."""
