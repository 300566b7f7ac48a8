"""The command line: list, audit, choose, report, replay, schema."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import click

from opjury import registry

GOOD, BAD, USAGE, NOTHING = 0, 1, 2, 3

_BYTES = re.compile(r"([\d.]+(?:e\d+)?) *([kmgt]?)(i?)b?", re.IGNORECASE)


class Bytes(click.ParamType):  # type: ignore[type-arg]
    """A number of bytes, with a unit or without: 4096, 64MiB, 1.5 GB."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """In bytes."""
        found = _BYTES.fullmatch(str(value).strip())
        try:
            number, prefix, binary = found.groups()  # type: ignore[union-attr]
            return float(number) * (1024 if binary else 1000) ** " kmgt".index(prefix.lower() or " ")
        except (AttributeError, ValueError):
            self.fail(f"{value!r} is no size in bytes; write it like 64MiB or 1.5GB", param, ctx)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opjury")
def main() -> None:
    """Put competing implementations of a tensor operation on trial.

    Exit status: 0 good, 1 something refuted, 2 usage, 3 nothing ran.
    """


@main.command("list")
@click.argument("operation", required=False)
def list_(operation: str | None) -> None:
    """Show the operations, or one operation's implementations."""
    from opjury.faces import terminal

    terminal.show_list(operation)


@main.command()
@click.argument("targets", nargs=-1, metavar="[OPERATION[:IMPLEMENTATION] | FILE.py[:FUNCTION] | MODULE[:FUNCTION]]...")
@click.option(
    "--as", "operation", metavar="OPERATION", help="The contract that functions of a file or module are held to."
)
@click.option("--profile", default="quick", show_default=True, metavar="quick|full|nightly")
@click.option("--check", "checks", multiple=True, help="Only this check (repeatable).")
@click.option("--dtype", "dtypes", multiple=True, help="Only this dtype (repeatable).")
@click.option("--device", default="cpu", show_default=True)
@click.option("--jobs", type=click.IntRange(1), help="Worker processes; by default one for each core.")
@click.option("--seed", type=int, help="By default a new one, printed at the end.")
@click.option("--no-isolation", is_flag=True, help="Judge in this process.")
@click.option(
    "--json",
    "json_file",
    type=click.Path(dir_okay=False),
    help="Write the records (JSON Lines); an interrupted audit resumes from them.",
)
@click.option("--junit", "junit_file", type=click.Path(dir_okay=False), help="Write JUnit XML.")
@click.option("--claims", is_flag=True, help="Try what published answers claim, statement by statement.")
@click.option("--all-verdicts", is_flag=True, help="Show every verdict, not one line for each implementation.")
@click.pass_context
def audit(context: click.Context, /, targets: tuple[str, ...], **options: Any) -> None:
    """Find out which implementations are right, and shrink what is wrong to a smallest counterexample.

    Without arguments: every implementation of every operation.
    """
    from opjury.faces import auditing

    if options.pop("claims"):
        context.exit(auditing.try_claims(targets))
    context.exit(auditing.run(targets, **options))


@main.command()
@click.argument("operation", required=False)
@click.argument("sizes", nargs=-1, metavar="[WORKLOAD] [SIZE=NUMBER]...")
@click.option("--dtype", help="By default float32, where the operation has it.")
@click.option("--device", default="cpu", show_default=True)
@click.option("--gradient", is_flag=True, help="Forward and backward together.")
@click.option(
    "--needs", multiple=True, metavar="second_order|forward_mode|vmap", help="What must hold besides (repeatable)."
)
@click.option("--strict", is_flag=True, help="Only those that waive nothing and keep to the contract's error bound.")
@click.option("--max-error", type=float, help="In ulps of the largest element.")
@click.option("--max-memory", type=Bytes(), metavar="SIZE", help="Of a call: 64MiB, 1.5GB or a number of bytes.")
@click.option("--threads", type=click.IntRange(1), default=1, show_default=True)
@click.option("--compile", is_flag=True, help="Compete through torch.compile, too.")
@click.option(
    "--with", "rivals", multiple=True, metavar="FILE.py:FUNCTION", help="A function of yours competes (repeatable)."
)
@click.option(
    "--trust", type=click.Path(exists=True, dir_okay=False), help="Count the verdicts of these records; audit nothing."
)
@click.option("--seconds", type=click.FloatRange(0.1), default=6.0, show_default=True, help="For the rounds.")
@click.option("--jobs", type=click.IntRange(1), help="Worker processes of the audit; by default one for each core.")
@click.option("--seed", type=int)
@click.option(
    "--sweep", "over", metavar="SIZE=LOW..HIGH", help="Over a range of one size: where does the choice change?"
)
@click.option("--emit", type=click.Path(dir_okay=False), help="Write a dispatcher that follows the sweep, as Python.")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Write the records (JSON Lines).")
@click.option(
    "--self-test",
    type=click.IntRange(1),
    metavar="TRIALS",
    help="Measure what this machine's measurements can tell: false alarms, the smallest slow-down that is found.",
)
@click.pass_context
def choose(
    context: click.Context, /, operation: str | None, sizes: tuple[str, ...], self_test: int | None, **options: Any
) -> None:
    """Measure the implementations that hold up at your sizes, and recommend one.

    Sizes: a named workload, `large`; numbers, `rows=1e5 features=64`; or a name and what differs. What is left out is as in `medium`.
    """
    from opjury.faces import choosing

    if self_test:
        context.exit(choosing.run_self_test(self_test))
    if operation is None:
        raise click.UsageError("name an operation: opjury choose OPERATION [WORKLOAD] [SIZE=NUMBER]...")
    context.exit(choosing.run(operation, sizes, **options))


@main.command()
@click.argument(
    "files", nargs=-1, metavar="[RECORDS.jsonl]...", type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option(
    "--history", type=click.Path(file_okay=False, path_type=Path), default=Path("reports", "history"), show_default=True
)
@click.option(
    "--output", type=click.Path(file_okay=False, path_type=Path), default=Path("reports", "site"), show_default=True
)
@click.option("--open", "show", is_flag=True, help="Show the site in a browser.")
@click.option("--format", "form", type=click.Choice(["html", "md", "terminal"]), default="html", show_default=True)
@click.option("--table", type=click.Path(dir_okay=False), help="Write measurements and verdicts as CSV.")
@click.option("--sarif", type=click.Path(dir_okay=False), help="Write what is refuted as SARIF, for code scanning.")
@click.option("--junit", type=click.Path(dir_okay=False), help="Write JUnit XML.")
@click.pass_context
def report(context: click.Context, /, files: tuple[Path, ...], **options: Any) -> None:
    """Make a site from records and the history; or a summary: `--format md` or `terminal`.

    RECORDS are what `--json` of other commands wrote, and tell how things are now; without any, the latest night of the history does.
    A summary in Markdown is also appended to $GITHUB_STEP_SUMMARY, where that is set.
    """
    from opjury.faces.report import command

    context.exit(command.run(files, **options))


@main.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_context
def replay(context: click.Context, /, file: Path) -> None:
    """Try the counterexamples in FILE (records, or a replay script) again."""
    from opjury.faces import auditing

    context.exit(auditing.replay(file))


@main.command()
def schema() -> None:
    """Print the JSON schema of a record."""
    import json

    from opjury import records

    click.echo(json.dumps(records.schema(), indent=2))


def run() -> None:
    """The entry point: unknown names become a usage error, never a traceback."""
    try:
        sys.exit(main(standalone_mode=False))
    except (registry.UnknownName, registry.Impossible) as error:
        click.echo(f"opjury: {error}", err=True)
        sys.exit(USAGE)
    except click.exceptions.Exit as status:
        sys.exit(status.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(USAGE)
    except (click.Abort, KeyboardInterrupt):
        click.echo("opjury: interrupted", err=True)
        sys.exit(130)
