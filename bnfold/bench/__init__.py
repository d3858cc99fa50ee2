"""Models side by side in one run: latency, throughput, time by operator, start-up, memory, and what is noise."""

from bnfold.bench.bench import Bench, Entry, bench
from bnfold.bench.latency import Latency, LatencyReport, measure_latency
from bnfold.bench.report import BenchReport
from bnfold.bench.setting import Mode, Setting

__all__ = ["Bench", "BenchReport", "Entry", "Latency", "LatencyReport", "Mode", "Setting", "bench", "measure_latency"]
