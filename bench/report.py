"""One run as a table for people and as JSON for programs."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

from bench.machine import Machine
from bench.measure import Measurement
from bench.targets import Target

COLUMNS = ("strongroom", "zenml", "openbao", "bare")
PEERS = COLUMNS[1:]
UNITS = {"ms": 1e-3, "µs": 1e-6, "MiB": 2**20, "s": 1.0}


@dataclass(frozen=True)
class Report:
    """Everything that one run found out."""

    machine: Machine
    load_after: float
    commit: str
    labels: Mapping[str, str]
    packages: Mapping[str, Mapping[str, str]]
    measurements: Sequence[Measurement]
    targets: Sequence[Target]
    failures: Sequence[str]
    notes: Sequence[str]

    def text(self) -> str:
        """The table: medians with the spread of the rounds, ratios of medians, then the targets."""
        return "\n".join([*self._heading(), "", *self._table(), "", *self._targets(), *self._failures()])

    def data(self) -> dict[str, object]:
        """The same for programs, in seconds and bytes, with every round and every package."""
        return {
            "machine": asdict(self.machine) | {"load_after": self.load_after},
            "commit": self.commit,
            "versions": dict(self.labels),
            "packages": {name: dict(found) for name, found in self.packages.items()},
            "notes": list(self.notes),
            "measurements": [asdict(m) | {"median": m.median, "min": m.low, "max": m.high} for m in self.measurements],
            "ratios": [
                {"row": row, "case": case, "of": "strongroom", "to": peer, "ratio": ratio}
                for (row, case), cells in self._lines().items()
                for peer in PEERS
                if (ratio := _ratio(cells, peer)) is not None
            ],
            "targets": [asdict(target) | {"met": target.met} for target in self.targets],
            "failures": list(self.failures),
        }

    def _heading(self) -> Iterator[str]:
        machine = self.machine
        yield f"strongroom beside others, {machine.taken}" + (f", commit {self.commit}" if self.commit else "")
        yield (
            f"machine: {machine.processor}, {machine.cores} cores, {machine.memory_bytes / 2**30:.0f} GiB;"
            f" {machine.kernel}; state on {machine.file_system}; load {machine.load_before:.1f} before, {self.load_after:.1f} after"
        )
        yield f"runtime: {machine.python}, SQLite {machine.sqlite}"
        yield f"versions: {', '.join(self.labels.values())}"
        yield from self.notes

    def _lines(self) -> dict[tuple[str, str], dict[str, Measurement]]:
        lines: dict[tuple[str, str], dict[str, Measurement]] = {}
        for measurement in self.measurements:
            lines.setdefault((measurement.row, measurement.case), {})[measurement.contestant] = measurement
        return lines

    def _table(self) -> Iterator[str]:
        body = []
        for (row, case), cells in self._lines().items():
            unit = _unit(list(cells.values()))
            ratios = (_ratio(cells, peer) for peer in PEERS)
            body.append(
                [
                    f"{row}: {case} [{unit}]",
                    *(_cell(cells.get(name), unit) for name in COLUMNS),
                    *("" if ratio is None else f"{_digits(ratio)}x" for ratio in ratios),
                ]
            )
        lines = [["median (min–max)", *COLUMNS, *(f"/{peer}" for peer in PEERS)], *body]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        for number, (case, *cells_shown) in enumerate(lines):
            shown = "  ".join(f"{cell:>{width}}" for cell, width in zip(cells_shown, widths[1:], strict=True))
            yield f"{case:<{widths[0]}}  {shown}".rstrip()
            if number == 0:
                yield "─" * (sum(widths) + 2 * len(widths) - 2)

    def _targets(self) -> Iterator[str]:
        if not self.targets:
            return
        width = max(len(target.promise) for target in self.targets)
        yield f"{'target':<{width}}{'measured':>14}{'at most':>14}"
        yield "─" * (width + 38)
        for target in self.targets:
            verdict = "met" if target.met else "NOT MET"
            measured, limit = _amount(target.measured, target.unit), _amount(target.limit, target.unit)
            yield f"{target.promise:<{width}}{measured:>14}{limit:>14}  {verdict}"

    def _failures(self) -> Iterator[str]:
        for failure in self.failures:
            yield f"not measured: {failure}"


def _ratio(cells: Mapping[str, Measurement], peer: str) -> float | None:
    ours, theirs = cells.get("strongroom"), cells.get(peer)
    return None if ours is None or theirs is None else ours.median / theirs.median


def _unit(cells: Sequence[Measurement]) -> str:
    """One unit per line of the table, so that its numbers can be compared at sight; it shows digits of the smallest."""
    if cells[0].unit == "B":
        return "MiB"
    return "ms" if min(cell.median for cell in cells) >= 1e-3 else "µs"


def _cell(measurement: Measurement | None, unit: str) -> str:
    if measurement is None:
        return "-"
    scale = UNITS[unit]
    if len(measurement.rounds) == 1:
        return _digits(measurement.median / scale)
    low, high = _digits(measurement.low / scale), _digits(measurement.high / scale)
    return f"{_digits(measurement.median / scale)} ({low}–{high})"


def _amount(number: float, unit: str) -> str:
    if unit == "x":
        return f"{_digits(number)}x"
    if unit == "B":
        return f"{_digits(number / 1e6)} MB"
    return f"{_digits(number / 1e-3)} ms" if number >= 1e-3 else f"{_digits(number / 1e-6)} µs"


def _digits(number: float) -> str:
    """Three significant digits, never an exponent."""
    if number >= 100:
        return f"{number:,.0f}"
    return f"{number:.1f}" if number >= 10 else f"{number:.2f}" if number >= 0.1 else f"{number:.3f}"
