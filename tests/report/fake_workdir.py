"""A realistic working directory of made-up numbers, the same for the same seed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nas_jax.spaces import SearchSpace, SpaceMask, darts_space, discretise

PROXIES = ("nwot", "synflow", "snip", "grad_norm", "params")
_WORTH = {"sep": 0.05, "dil": 0.03, "skip": 0.012, "max": 0.004, "avg": -0.006}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def prune_json(space: SearchSpace, rng: np.random.Generator) -> dict[str, Any]:
    """Half of every edge's operations kept, `none` dropped unscored."""
    operations: list[dict[str, Any]] = []
    mask: dict[str, list[list[str]]] = {}
    for cell in space.cells:
        mask[cell.name] = []
        for edge, (source, target) in enumerate(cell.edges):
            rows: list[dict[str, Any]] = []
            for name in cell.ops:
                row: dict[str, Any] = {
                    "cell": cell.name,
                    "edge": edge,
                    "source": source,
                    "target": target,
                    "operation": name,
                }
                if name == "none":
                    rows.append(
                        {
                            **row,
                            "kept": False,
                            "score": None,
                            "score_std": None,
                            "scores": {},
                            "reason": "never selected at discretisation",
                        }
                    )
                    continue
                worth = _WORTH.get(name.split("_")[0], 0.01)
                scores = {
                    p: float(worth / 4 + 0.006 * rng.standard_normal()) for p in PROXIES
                }
                row["scores"] = scores
                row["score"] = sum(scores.values())
                row["score_std"] = float(abs(0.004 * rng.standard_normal()))
                rows.append(row)
            scored = sorted(
                (row for row in rows if row["score"] is not None),
                key=lambda row: -row["score"],
            )
            for rank, row in enumerate(scored):
                row["kept"] = rank < max(1, len(cell.ops) // 2)
            mask[cell.name].append([r["operation"] for r in rows if r["kept"]])
            operations += rows
    kept = sum(row["kept"] for row in operations)
    return {
        "space": space.name,
        "strategy": "zero_one_shot",
        "level": 0.5,
        "kept_fraction": kept / len(operations),
        "kept": kept,
        "total": len(operations),
        "proxies": list(PROXIES),
        "seeds": [0, 1, 2],
        "seconds": {"compile": 31.2, "score": 47.9, "total": 79.1},
        "peak_memory_bytes": 612_368_384,
        "network": {"channels": 8, "layers": 3, "batch_size": 32},
        "mask": {"space": space.name, "cells": mask},
        "operations": operations,
    }


def search_rows(
    space: SearchSpace, prune: dict[str, Any], rng: np.random.Generator, steps: int
) -> list[dict[str, Any]]:
    """`steps` log rows whose alphas drift apart while the losses fall."""
    kept = {
        cell.name: np.array(
            [
                [op in prune["mask"]["cells"][cell.name][e] for op in cell.ops]
                for e in range(len(cell.edges))
            ]
        )
        for cell in space.cells
    }
    logits = {name: 0.001 * rng.standard_normal(k.shape) for name, k in kept.items()}
    drift = {name: 0.5 * rng.standard_normal(k.shape) for name, k in kept.items()}
    rows = []
    for step in range(1, steps + 1):
        alphas = {}
        for name, live in kept.items():
            logits[name] += drift[name] / steps
            logits[name] += 0.25 / steps**0.5 * rng.standard_normal(live.shape)
            weights = np.where(live, np.exp(logits[name]), 0.0)
            weights /= weights.sum(axis=1, keepdims=True)
            alphas[name] = [[round(float(w), 5) for w in edge] for edge in weights]
        done = step / steps
        noise = 0.05 * rng.standard_normal(4)
        rows.append(
            {
                "step": 10 * step,
                "epoch": 25 * done,
                "train_loss": 2.2 * float(np.exp(-3 * done)) + 0.12 + abs(noise[0]),
                "train_accuracy": 0.97 - 0.85 * float(np.exp(-4 * done)) + noise[1] / 3,
                "valid_loss": 2.1 * float(np.exp(-2.4 * done)) + 0.3 + abs(noise[2]),
                "valid_accuracy": 0.93 - 0.8 * float(np.exp(-4 * done)) + noise[3] / 3,
                "weight_learning_rate": 0.025 * (1 - done),
                "steps_per_second": 3.1,
                "alphas": alphas,
            }
        )
    return rows


def retrain_rows(rng: np.random.Generator, epochs: int) -> list[dict[str, Any]]:
    """Ten steps an epoch; the last of each carries the test figures."""
    rows = []
    for step in range(1, 10 * epochs + 1):
        done = step / (10 * epochs)
        noise = 0.03 * rng.standard_normal(2)
        row = {
            "step": step,
            "epoch": step / 10,
            "train_loss": 2.3 * float(np.exp(-6 * done)) + 0.02 + abs(noise[0]),
            "train_accuracy": 0.995 - 0.9 * float(np.exp(-8 * done)) + noise[1] / 6,
            "learning_rate": 0.025 * (1 - done),
            "steps_per_second": 5.4,
        }
        if step % 10 == 0:
            row["test_loss"] = 2.2 * float(np.exp(-5 * done)) + 0.08
            row["test_accuracy"] = 0.982 - 0.8 * float(np.exp(-7 * done))
        rows.append(row)
    return rows


def genotype_json(space: SearchSpace, last: dict[str, Any]) -> dict[str, Any]:
    """The genotype that DARTS' rule picks from the last row's probabilities."""
    probabilities = {name: np.array(edges) for name, edges in last["alphas"].items()}
    genotype = discretise(SpaceMask.full(space), probabilities)
    return {
        "space": space.name,
        "genotype": genotype.to_dict(),
        "text": str(genotype),
        "parameters": None,
    }


def _memory(peak: int) -> dict[str, int]:
    return {
        "temp_bytes": int(0.93 * peak),
        "argument_bytes": int(0.05 * peak),
        "output_bytes": int(0.02 * peak),
        "alias_bytes": int(0.015 * peak),
        "peak_bytes": peak,
    }


def fill(
    workdir: Path,
    seed: int = 0,
    space: SearchSpace | None = None,
    steps: int = 120,
    epochs: int = 30,
) -> Path:
    """Writes every artefact of a finished run into `workdir`."""
    rng = np.random.default_rng(seed)
    space = darts_space() if space is None else space
    prune = prune_json(space, rng)
    rows = search_rows(space, prune, rng, steps)
    genotype = genotype_json(space, rows[-1])
    write_json(workdir / "prune.json", prune)
    write_lines(workdir / "search.jsonl", rows)
    write_json(workdir / "genotype.json", genotype)
    write_lines(workdir / "retrain.jsonl", retrain_rows(rng, epochs))
    write_json(
        workdir / "memory.json",
        {
            "target": "cpu",
            "unpruned": _memory(5005 * 2**20),
            "pruned": _memory(772 * 2**20),
            "batch_size": 64,
            "channels": 16,
            "layers": 8,
            "dtype": "float32",
        },
    )
    seconds = {"prune": 79.1, "search": 612.4, "retrain": 1405.0, "total": 2161.7}
    write_json(
        workdir / "summary.json",
        {
            "test_accuracy": 0.9806,
            "genotype": genotype["text"],
            "kept_fraction": prune["kept_fraction"],
            "seconds": seconds,
            "peak_memory_bytes": {"unpruned": 5005 * 2**20, "pruned": 772 * 2**20},
            "parameters": 238_474,
            "name": "digits_darts",
            "seed": 0,
            "num_test": 360,
        },
    )
    write_json(
        workdir / "config.json",
        {
            "name": "digits_darts",
            "seed": 0,
            "data": {"source": "digits", "test_fraction": 0.2, "seed": 0},
            "space": {"name": space.name, "mask": ""},
            "prune": {"level": 0.5, "proxies": list(PROXIES), "repeats": 3},
            "search": {"channels": 16, "layers": 8, "epochs": 25, "batch_size": 64},
            "retrain": {"channels": 16, "layers": 8, "epochs": epochs},
        },
    )
    write_json(
        workdir / "environment.json",
        {
            "date": "2025-11-24T09:18:00+00:00",
            "command": ["nas-jax", "run", "--config=configs/digits.py"],
            "seed": 0,
            "nas_jax": "0.1.0",
            "git_commit": "0123456789abcdef0123456789abcdef01234567",
            "python": "3.11.9",
            "jax": "0.10.2",
            "flax": "0.12.8",
            "platform": "Linux-6.1-x86_64",
            "backend": "cpu",
            "device_kind": "cpu",
            "device_count": 1,
            "earlier": [],
        },
    )
    return workdir
