"""The workflow and the job of docs/ci do what they say: their shell steps are run as they stand there."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from itertools import dropwhile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.verify.graphs import network, random_layers, saved

ROOT = Path(__file__).parents[1]
GITHUB: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/github-actions.yml").read_text())
GITLAB: dict[str, Any] = yaml.safe_load((ROOT / "docs/ci/gitlab-ci.yml").read_text())


def github_steps() -> Iterator[tuple[str, str, bool]]:
    """Yield name, script and whether it always runs, of the steps after the set-up."""
    steps = GITHUB["jobs"]["verify"]["steps"]
    names = [step.get("name") for step in steps]
    for step in steps[names.index("Install") + 1 :]:
        if "run" in step:
            yield step["name"], step["run"], step.get("if") == "always()"


def bash(script: str, folder: Path, variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script as the runners do: it ends at the first command that fails."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607  (the runner's own)
        cwd=folder,
        env={**os.environ, **variables, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )


def run_workflow(folder: Path, *, first: str = "Fold") -> dict[str, int]:
    """Run the workflow's steps by its own rules, from the step ``first`` on; return each one's exit code."""
    variables = {**GITHUB["env"], "GITHUB_STEP_SUMMARY": str(folder / "summary.md")}
    codes: dict[str, int] = {}
    for name, script, always in dropwhile(lambda step: step[0] != first, github_steps()):
        if always or not any(codes.values()):
            codes[name] = bash(script, folder, variables).returncode
    return codes


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project with a model."""
    saved(network(random_layers()), tmp_path / "model.onnx")
    return tmp_path


def test_the_workflow_proves_a_model_and_compares_it(checkout: Path) -> None:
    """All steps pass, all reports are there; one that is worse than the accepted one fails the job, and is shown."""
    steps = ["Fold", "Verify", "Compare with the accepted report", "Summary"]
    assert run_workflow(checkout) == dict.fromkeys(steps, 0)
    reports = {path.name for path in (checkout / "reports").iterdir()}
    assert reports == {"fold.json", "verify.json", "junit.xml", "verify.md", "verify.html"}
    assert "✅ bnfold verify: equivalent on cpu" in (checkout / "summary.md").read_text()

    accepted = json.loads((checkout / "reports/verify.json").read_text())
    for rung in accepted["outputs"][0]["ladder"]:
        for part in ("error", "floor"):
            rung[part] = {norm: value / 1000 for norm, value in rung[part].items()}
    (checkout / "verify-baseline.json").write_text(json.dumps(accepted))
    assert run_workflow(checkout, first=steps[2]) == {"Compare with the accepted report": 1, "Summary": 0}
    assert "❌ bnfold diff: worse" in (checkout / "summary.md").read_text()


def test_the_workflow_stops_at_what_cannot_be_folded(checkout: Path) -> None:
    """A model that is none fails the first step; the summary step still runs, and there is nothing to tell."""
    (checkout / "model.onnx").write_text("no model\n")
    assert run_workflow(checkout) == {"Fold": 2, "Summary": 0}


def test_the_job_for_gitlab_does_the_same(checkout: Path) -> None:
    """Line by line, and the files that it keeps are there."""
    job = GITLAB["verify-model"]
    done = bash("\n".join(job["script"]), checkout, job["variables"])
    assert done.returncode == 0, done.stderr
    assert (checkout / job["artifacts"]["reports"]["junit"]).is_file()
    assert (checkout / "reports/verify.html").is_file()


def test_both_install_the_same_and_ask_for_no_rights() -> None:
    """What is installed is one variable; the workflow may read and nothing else."""
    job = GITLAB["verify-model"]
    install = next(step["run"] for step in GITHUB["jobs"]["verify"]["steps"] if step.get("name") == "Install")
    assert job["before_script"] == [install]
    assert job["variables"] == GITHUB["env"]
    assert GITHUB["permissions"] == {"contents": "read"}
