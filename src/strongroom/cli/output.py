"""How results are shown: data on stdout, talk on stderr.

A table on a terminal is drawn by rich; elsewhere it is plain columns. JSON and YAML carry the same shape as the HTTP API.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import click

output_option: Callable[[Any], Any] = click.option(
    "-o", "--output", type=click.Choice(["table", "json", "yaml"]), help="How to show the result.  [default: table]"
)


def paging_options(command: Any) -> Any:
    """`--page` and `--size`."""
    size = click.option("--size", type=click.IntRange(1, 1000), metavar="N", default=20, help="How many, up to 1000.  [default: 20]")
    return click.option("--page", type=click.IntRange(1), metavar="N", default=1, help="Which page.")(size(command))


_WHOLE = ("scope", "version", "created", "updated", "when", "started", "status")
"""Columns that a narrow terminal does not break into pieces."""


def say(message: str) -> None:
    """A line for people, on stderr."""
    click.echo(visible(message), err=True)


def on_terminal() -> bool:
    """Whether somebody looks at standard output."""
    return sys.stdout is not None and sys.stdout.isatty()


def write(text: str) -> None:
    """Writes to stdout in UTF-8, whatever the locale says, byte for byte."""
    if sys.stdout is None:
        raise OSError(errno.EBADF, "standard output is closed")
    sys.stdout.flush()
    sys.stdout.buffer.write(text.encode())
    sys.stdout.buffer.flush()


def show_line(text: str) -> None:
    """A line of a result, without characters that would move the cursor or change the terminal."""
    write(f"{visible(text)}\n")


def plain(model: Any) -> Any:
    """A model as plain data, in the shape of the HTTP API, with values masked."""
    import msgspec

    return msgspec.to_builtins(model, enc_hook=str)


def local_time(moment: Any) -> str:
    """A time as people read it where they are."""
    text: str = moment.astimezone().strftime("%Y-%m-%d %H:%M:%S")
    return text


def count(number: int, noun: str) -> str:
    """`1 secret`, `2 secrets`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def say_page(page: Any, noun: str) -> None:
    """Which page of how many was shown."""
    say(f"Page {page.page} of {max(1, page.total_pages)}, {count(page.total, noun)} in all.")


def show_data(data: Any, output: str) -> None:
    """Plain data (dicts, lists, texts) as `json` or `yaml`. On a terminal, what would change it is escaped."""
    if output == "json":
        text = json.dumps(data, ensure_ascii=False, indent=2) + "\n"
        write(_escaped(text) if on_terminal() else text)
        return
    import yaml

    text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=10_000)
    if not text.replace("\n", "").isprintable():  # some of which YAML would read as something else, too
        text = yaml.safe_dump(data, sort_keys=False, width=10_000)
    write(text)


def show_fields(fields: Mapping[str, Any], output: str | None) -> None:
    """One thing: its fields by name."""
    if output in ("json", "yaml"):
        show_data(dict(fields), output)
    else:
        show_table([], [[name.replace("_", " "), _cell(value)] for name, value in fields.items()])


def show_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Rows of texts under headers (none: no header line)."""
    shown = [[visible(cell) for cell in row] for row in rows]
    if on_terminal():
        _draw(headers, shown)
    else:
        _print_columns(headers, shown)


def _draw(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*headers, box=box.ROUNDED, show_header=bool(headers), show_lines=any("\n" in cell for row in rows for cell in row))
    if not headers:
        table.add_column(style="bold")
        table.add_column()
    for column in table.columns:
        column.overflow = "fold"
        column.no_wrap = column.header in _WHOLE
    for row in rows:
        table.add_row(*map(Text, row))
    Console(no_color=bool(os.environ.get("NO_COLOR")), highlight=False).print(table)


def _print_columns(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    lines: list[Sequence[str]] = [[header.upper() for header in headers]] if headers else []
    for row in rows:  # a cell of several lines makes several lines
        cells = [cell.split("\n") for cell in row]
        for number in range(max(map(len, cells), default=0)):
            lines.append([cell[number] if number < len(cell) else "" for cell in cells])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))] if lines else []
    for line in lines:
        write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() + "\n")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{key}={item}" for key, item in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return str(value)


def _escaped(text: str) -> str:
    """JSON in which characters that are not printable are escapes; the data is the same."""
    return "".join(each if each.isprintable() or each == "\n" else json.dumps(each)[1:-1] for each in text)


def visible(text: str) -> str:
    """The text without characters that would move the cursor or change the terminal."""
    return "".join(character if character.isprintable() or character == "\n" else ascii(character)[1:-1] for character in text)
