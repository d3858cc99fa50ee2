"""Every figure of a report in one line of help: what it is, and what a good value looks like."""

FIGURES = {
    "elements": "How many numbers of the candidate were compared with the oracle's; 0 never passes.",
    "max_absolute": "Largest |candidate − oracle|, in units of the output: one wrong element shows here.",
    "rmse": "Root mean square of candidate − oracle, in units of the output: errors everywhere show here.",
    "max_relative": "Largest |candidate − oracle| over the largest |oracle|: 1e-6 is usual in float32.",
    "relative_rmse": "RMSE over the root mean square of the oracle: 1e-7 to 1e-6 is usual in float32.",
    "max_ulp": "Largest error in units in the last place of the oracle's value; large where that is near zero.",
    "rms_ulp": "Root mean square of the errors in units in the last place.",
    "cosine": "Cosine of the angle between candidate and oracle: 1 if they are alike; hides errors below 1e-8.",
    "sqnr_db": "Signal to noise, −20·log10(relative RMSE): 120 dB and more in float32, 50 and more in float16.",
    "top1": "Samples whose best class is the oracle's, of those whose lead exceeds twice the limit.",
    "k": "Factor on the original's own error: how much worse than its own run a candidate may be.",
    "baseline": "Error of the original's own run, optimizations off, against float64, at the rung's precision.",
    "floor": "What roundings alone may do: k times that of rounding every weight anew, and u·|output|.",
    "limit": "k·baseline + floor: what an error is held to, in both norms.",
    "error_over_limit": "The error over its limit, in the norm that is worse; above 1 it fails.",
    "compared_elements": "Numbers compared over all outputs and samples.",
    "kill_rate": "Part of the wrong candidates, made from yours, that this comparison caught on these inputs.",
    "introduced": "Error that one node makes on exact inputs, or on right ones: its own fault.",
    "total": "Error of a value where it stands: what its node introduces and what came in from above.",
    "repeat": "Difference of two equal runs of the candidate: the noise of the runtime itself.",
    "order": "Difference of runs whose samples are in another order: what its neighbours do to a sample.",
    "variation": "How much an output varies over the samples; below ten times its limit it shows little.",
}
"""Key of a figure in a report → one line."""
