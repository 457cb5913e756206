"""A realistic working directory of made-up numbers, the same for the same seed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nas_jax.identity import MadeFrom
from nas_jax.pruning import strategy as registry
from nas_jax.spaces import SearchSpace, SpaceMask, darts_space, discretise

PROXIES = ("nwot", "synflow", "snip", "grad_norm", "params")
STRATEGIES = {
    "zero_one_shot": PROXIES,
    "te_nas": ("ntk_cond", "thin_regions"),
    "ete_nas": ("nngp_frobenius", "nngp_mean", "thin_regions_100", "nwot"),
    "zero_cost_pt": ("nwot",),
    "sampled": ("nwot",),
    "random": (),
}
"""Strategies by name, with their proxies."""

Edge = tuple[str, int]
_WORTH = {"sep": 0.05, "dil": 0.03, "skip": 0.012, "max": 0.004, "avg": -0.006}


def write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=1), encoding="utf-8")


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _schedule(
    space: SearchSpace, strategy: str, keep: int, rounds: int, rng: np.random.Generator
) -> list[dict[Edge, int]]:
    """What edges keep after each round; zero_cost_pt has a round for each edge."""
    edges = [(c.name, e) for c in space.cells for e in range(len(c.edges))]
    if strategy == "zero_cost_pt":
        return [{edges[i]: keep} for i in rng.permutation(len(edges))]
    most = max(len(cell.ops) for cell in space.cells) - 1
    return [
        dict.fromkeys(edges, most - -(-(most - keep) * done // rounds))
        for done in range(1, rounds + 1)
    ]


def _repeats(strategy: str) -> int:
    return 1 if strategy in ("random", "zero_cost_pt") else 3


def _ranks(column: list[float]) -> dict[float, int]:
    return {value: rank for rank, value in enumerate(sorted(set(column)))}


def _score(
    rows: list[dict[str, Any]], strategy: str, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Made-up figures of one round, by row."""
    proxies = STRATEGIES[strategy]
    parts = []
    for row in rows:
        worth = _WORTH.get(row["operation"].split("_")[0], 0.01) / 4
        drawn = worth + 0.006 * rng.standard_normal(len(proxies))
        parts.append(dict(zip(proxies, drawn.tolist(), strict=True)))
    if strategy == "random":
        totals = [float(draw) for draw in rng.permutation(len(rows))]
        spreads = [0.0] * len(rows)
    elif strategy == "te_nas":
        parts = [{p: round(v, 3) for p, v in part.items()} for part in parts]
        ranks = {p: _ranks([part[p] for part in parts]) for p in proxies}
        totals = [float(sum(ranks[p][part[p]] for p in proxies)) for part in parts]
        spreads = np.abs(3 * rng.standard_normal(len(rows))).tolist()
    else:
        totals = [sum(part.values()) for part in parts]
        spreads = np.abs(0.004 * rng.standard_normal(len(rows))).tolist()
    several = _repeats(strategy) > 1
    return [
        {
            "score": total,
            "score_std": spread * several,
            "scores": part,
            "scores_std": {
                p: abs(0.002 * rng.standard_normal()) * several for p in part
            },
        }
        for total, spread, part in zip(totals, spreads, parts, strict=True)
    ]


def _run_round(
    rows: list[dict[str, Any]],
    goal: dict[Edge, int],
    number: int,
    strategy: str,
    rng: np.random.Generator,
) -> None:
    """Scores the rows that are left on the goal's edges, and drops the lowest."""
    left = [row for row in rows if row["kept"] and (row["cell"], row["edge"]) in goal]
    for row, figures in zip(left, _score(left, strategy, rng), strict=True):
        row.update(figures, round=number)
        row.pop("reason", None)
    for edge, keep in goal.items():
        there = [row for row in left if (row["cell"], row["edge"]) == edge]
        there.sort(key=lambda row: -row["score"])
        kept, dropped = there[:keep], there[keep:]
        for row in dropped:
            row["kept"] = False
            row["margin"] = min((k["score"] - row["score"] for k in kept), default=None)
        for row in kept:
            row["margin"] = min(
                (row["score"] - d["score"] for d in dropped), default=None
            )


def _rankers(strategy: str) -> list[dict[str, Any]]:
    supernet = {"channels": 8, "layers": 3}
    thin = {"channels": 1, "stem": True, "initialisation": "kaiming_normal_fan_out"}
    networks = {
        "ntk_cond": (thin, 14, None),
        "thin_regions": ({**thin, "stem": False}, 256, None),
        "nngp_frobenius": (thin, 28, None),
        "nngp_mean": (thin, 28, None),
        "thin_regions_100": ({**thin, "stem": False}, 256, "running"),
    }
    default = (supernet, 32, "running" if strategy == "zero_cost_pt" else None)
    rankers = []
    for proxy in STRATEGIES[strategy]:
        network, batch_size, norm = networks.get(proxy, default)
        rankers.append(
            {"proxy": proxy, "network": network, "batch_size": batch_size, "norm": norm}
        )
    return rankers


def prune_json(
    space: SearchSpace,
    rng: np.random.Generator,
    strategy: str = "zero_one_shot",
    keep: int | None = None,
    rounds: int = 1,
    warnings: Sequence[str] = (),
    budget: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """What pruning by a strategy might write; `none` is dropped unscored.

    Args:
        space: The search space.
        rng: Draws the scores.
        strategy: A key of STRATEGIES.
        keep: Operations that an edge keeps; None is half of them.
        rounds: Rounds, which remove about equally many operations.
        warnings: Sentences.
        budget: `budget_bytes`, `budget_target` and `step_bytes`.
    """
    operations: list[dict[str, Any]] = [
        {
            "cell": cell.name,
            "edge": edge,
            "source": source,
            "target": target,
            "operation": name,
            "kept": name != "none",
            "score": None,
            "score_std": None,
            "scores": {},
            "scores_std": {},
            "round": 0,
            "margin": None,
            "reason": "never selected at discretisation"
            if name == "none"
            else "the edge keeps all that it has",
        }
        for cell in space.cells
        for edge, (source, target) in enumerate(cell.edges)
        for name in cell.ops
    ]
    half = max(1, len(space.cells[0].ops) // 2)
    schedule = _schedule(space, strategy, keep or half, rounds, rng)
    for number, goal in enumerate(schedule, start=1):
        _run_round(operations, goal, number, strategy, rng)
    mask = {
        cell.name: [
            [
                row["operation"]
                for row in operations
                if (row["cell"], row["edge"]) == (cell.name, edge) and row["kept"]
            ]
            for edge in range(len(cell.edges))
        ]
        for cell in space.cells
    }
    kept = sum(row["kept"] for row in operations)
    scored = strategy != "random"
    repeats = _repeats(strategy)
    return {
        "space": space.name,
        "strategy": strategy,
        "level": None if keep or budget else 0.5,
        "keep": None if budget else keep,
        "budget": budget
        and {
            "allowed": budget["budget_bytes"],
            "target": budget["budget_target"],
            "needed": budget["step_bytes"],
        },
        "min_parametric": 0,
        "kept_fraction": kept / len(operations),
        "kept": kept,
        "total": len(operations),
        "proxies": list(STRATEGIES[strategy]),
        "seed": 0,
        "distinct_images": 1437,
        "repeats": repeats,
        "rounds": len(schedule),
        "candidates": 197 * repeats if scored else 0,
        "warnings": list(warnings),
        "seconds": {
            "compile": 31.2 * scored,
            "score": 47.9 * scored,
            "total": 79.1 if scored else 0.2,
        },
        "peak_memory_bytes": 612_368_384 * scored,
        "rankers": _rankers(strategy),
        "mask": {"space": space.name, "cells": mask},
        "mask_sha256": sha("what pruning left"),
        "meaning": registry.STRATEGIES[strategy].words,
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
        "facts": {},
        "probabilities": last["alphas"],
        "seconds": {"compile": 31.5, "total": 612.4},
        "platform": "cpu",
        "memory": _memory(772 * 2**20),
    }


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def recorded(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as an artefact records them."""
    return MadeFrom(inputs).to_dict()


def made_from(stage: str, **inputs: Any) -> dict[str, Any]:
    """What a stage's artefact might record."""
    known = {"seed": 0, "data": sha("images"), **inputs, "config": {stage: {}}}
    return recorded(known)


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
    **pruning: Any,
) -> Path:
    """Writes every artefact of a finished run into `workdir`.

    What is in `pruning` goes to `prune_json`.
    """
    rng = np.random.default_rng(seed)
    space = darts_space() if space is None else space
    prune = prune_json(space, rng, **pruning)
    rows = search_rows(space, prune, rng, steps)
    genotype = genotype_json(space, rows[-1])
    whole, left = sha("whole space"), sha("what pruning left")
    pruned = made_from("prune", mask=whole)
    searched = made_from("search", mask=left)
    measured = made_from("search", mask=left, start=whole)
    retrained = made_from("retrain", genotype=sha(genotype["text"]))
    prune |= {"made_from": pruned}
    genotype["made_from"] = searched
    trained = retrain_rows(rng, epochs)
    for log, made in ((rows, searched), (trained, retrained)):
        for row in log:
            row["made_from"] = made["digest"]
    write_json(workdir / "prune.json", prune)
    write_lines(workdir / "search.jsonl", rows)
    write_json(workdir / "genotype.json", genotype)
    write_lines(workdir / "retrain.jsonl", trained)
    write_json(
        workdir / "retrain.json",
        {
            "genotype": genotype["text"],
            "test_accuracy": 0.9806,
            "parameters": 238_474,
            "seconds": 1405.0,
            "made_from": retrained,
        },
    )
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
            "made_from": measured,
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
            "made_from": recorded(
                {
                    "prune": pruned["digest"],
                    "search": searched["digest"],
                    "memory": measured["digest"],
                    "retrain": retrained["digest"],
                }
            ),
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
            "working_directory": "/data/nas runs",
            "data": {
                "source": "digits",
                "path": "",
                "name": "",
                "num_train": 1437,
                "num_test": 360,
                "num_classes": 10,
                "image_shape": [8, 8, 1],
                "sha256": sha("images"),
            },
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
