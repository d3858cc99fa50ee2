"""Verification reports in their JSON form, for tests of what is made of them."""

from copy import deepcopy
from math import exp
from pathlib import Path
from typing import Any

import onnx_ir as ir

from bnfold.verify import VerificationReport, verify
from bnfold.verify.reports.folds import folds
from tests.verify.graphs import Fold, images, network, random_layers, saved

Document = dict[str, Any]


def verified(folder: Path, fold: Fold) -> VerificationReport:
    """Verify a small network against its fold by hand, on 20 random images."""
    layers = random_layers()
    original = saved(network(layers), folder / "original.onnx")
    candidate = saved(network(layers, fold), folder / "candidate.onnx")
    return verify(original, candidate, images(20))


def with_folds(document: Document, folder: Path) -> Document:
    """Return the document of `verified` with what the two graphs tell of the fold."""
    found = folds(ir.load(folder / "original.onnx"), ir.load(folder / "candidate.onnx"))
    return {**document, "folds": found}


def size(rms: float) -> dict[str, float]:
    """Return both norms of an array of errors."""
    return {"rms": rms, "largest": 4 * rms}


def traced(number: int, fault: int | None = None) -> list[Document]:
    """Return the localization of a network of so many nodes, of which one is at fault."""
    nodes: list[Document] = []
    total = 0.0
    for index in range(number):
        introduced = 3e-8 * exp(0.4 * (index % 5)) if index != fault else 2e-3
        total = max(1.05 * total, introduced)
        nodes.append(
            {
                "name": f"/layer{index // 9}/block{index}/Conv",
                "op_type": "Conv" if index % 3 else "Relu",
                "value": f"value{index}",
                "introduced": size(introduced),
                "limit": size(6e-7),
                "total": size(total),
                "size": size(1.0 + 0.1 * (index % 7)),
                "passed": index != fault,
                "gauge": {"scale": [0.5, 2.0], "shift": [0.0, 0.25]} if index % 2 else None,
            }
        )
    return nodes


def with_trials(document: Document, *, fault: int | None = 31) -> Document:
    """Return the document with localization, self-test, stability and edge cases as a report may hold them."""
    nodes = traced(60, fault)
    name = document["outputs"][0]["name"]
    faulty = None if fault is None else nodes[fault]
    mutant = {"kind": "wrong epsilon", "node": "conv1", "error_over_limit": 12.0}
    localization = {
        "reference": "bnfold's fold, latency",
        "sample": 3,
        "matched": 60,
        "unmatched": ["extra"],
        "first_fault": faulty,
        "words": "no node introduces more than its limit" if faulty is None else f"{faulty['name']} is at fault",
        "nodes": nodes,
    }
    missed = {**mutant, "kind": "swapped group", "error_over_limit": 0.5, "killed": False}
    edge_case = {
        "name": "zeros",
        "words": "every element is zero",
        "samples": 2,
        "passed": True,
        "error_over_limit": 0.1,
        "finite": True,
    }
    return {
        **deepcopy(document),
        "diagnosis": "the error enters on the runtime",
        "figures_explained": {"rmse": "Root of the mean square error.", "cosine": "Cosine of the angle."},
        "localization": localization,
        "mutation": {
            "total": 2,
            "killed": 1,
            "kill_rate": 0.5,
            "words": "1 of 2 wrong candidates were caught.",
            "mutants": [{**mutant, "killed": True}, missed],
        },
        "stability": [{"name": name, "repeat": size(0.0), "order": size(1e-9), "limit": size(1e-6)}],
        "edge_cases": [edge_case, {**edge_case, "name": "denormals", "passed": False, "finite": False}],
    }
