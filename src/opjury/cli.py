"""The command line: list, audit, choose, track, report, replay, schema."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from opjury import disk, records, registry
from opjury.faces.options import Bytes, Duration, OutputFile, Reason, ShardOf

GOOD, BAD, USAGE, NOTHING = 0, 1, 2, 3


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="opjury")
def main() -> None:
    """Put competing implementations of a tensor operation on trial.

    Exit status: 0 good, 1 something refuted or a regression, 2 usage, 3 nothing ran.
    """


@main.command("list")
@click.argument("operation", required=False)
def list_(operation: str | None) -> None:
    """Show the operations, or one operation's implementations."""
    from opjury.faces import terminal

    terminal.show_list(operation)


_example_db = click.option(
    "--example-db",
    metavar="FOLDER|redis://HOST:PORT/NUMBER",
    help="Where failing cases are kept to be tried first; a server shares them between machines (extra `team`).",
)

_Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def _options(*declared: _Decorator) -> _Decorator:
    """Several options as one decorator."""
    return lambda command: functools.reduce(lambda inner, option: option(inner), reversed(declared), command)


_cluster = _options(
    click.option("--cluster", default="", metavar="tcp://HOST:PORT", help="Run on the workers of this dask scheduler."),
    click.option(
        "--mixed", is_flag=True, help="Accept workers with other versions of opjury, Python, torch, NumPy or SciPy."
    ),
)
_device = click.option(
    "--device", default="cpu", show_default=True, metavar="cpu|cuda|cuda:N", help="The device of all tensors."
)


def _refuse_others(context: click.Context, option: str, *honoured: str) -> None:
    """Raise `click.UsageError` for what was given and `option` would ignore."""
    given = [
        p
        for p in context.command.params
        if p.name not in honoured and context.get_parameter_source(p.name or "") is ParameterSource.COMMANDLINE
    ]
    names = [
        p.opts[0] if isinstance(p, click.Option) else "an operation" for p in given if context.params[p.name or ""]
    ]
    if names:
        raise click.UsageError(f"{option} does not go with {', '.join(dict.fromkeys(names))}")


@main.command()
@click.argument("targets", nargs=-1, metavar="[OPERATION[:IMPLEMENTATION] | FILE.py[:FUNCTION] | MODULE[:FUNCTION]]...")
@click.option(
    "--as", "operation", metavar="OPERATION", help="The operation that the functions of a file or module implement."
)
@click.option(
    "--waive",
    "waives",
    type=Reason(),
    multiple=True,
    metavar="CHECK=REASON",
    help="With --as: a check that the functions are known not to pass, and why (repeatable).",
)
@click.option(
    "--error",
    metavar="FILE.py:FUNCTION",
    help="With --as: the functions' error model. Called like the operation, with NumPy arrays, it returns Σ|a·x| of the bound.",
)
@click.option("--profile", default="quick", show_default=True, metavar="quick|full|nightly")
@click.option("--check", "checks", multiple=True, help="Only this check (repeatable).")
@click.option("--dtype", "dtypes", multiple=True, help="Only this dtype (repeatable).")
@_device
@click.option("--jobs", type=click.IntRange(1), help="Worker processes; by default one for each core.")
@click.option("--seed", type=int, help="By default a new one, printed at the end.")
@_example_db
@click.option("--no-isolation", is_flag=True, help="Judge in this process.")
@_cluster
@click.option(
    "--shard", type=ShardOf(), metavar="I/N", help="Only this part, for a CI matrix; `opjury merge` joins them."
)
@click.option(
    "--costs",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Records of an earlier audit; they balance the shards by run time. Give all shards the same file.",
)
@click.option(
    "--json",
    "json_file",
    type=OutputFile(),
    help="Write the records (JSON Lines); an interrupted audit resumes from them.",
)
@click.option("--junit", "junit_file", type=OutputFile(), help="Write JUnit XML.")
@click.option("--claims", is_flag=True, help="Check what published answers claim, one statement at a time.")
@click.option("--all-verdicts", is_flag=True, help="Show every verdict, not one line for each implementation.")
@click.pass_context
def audit(context: click.Context, /, targets: tuple[str, ...], **options: Any) -> None:
    """Find out which implementations are right, and shrink what is wrong to a smallest counterexample.

    Without arguments: every implementation of every operation.
    """
    from opjury.faces import auditing

    if options.pop("claims"):
        _refuse_others(context, "--claims", "claims", "targets")
        context.exit(auditing.try_claims(targets))
    context.exit(auditing.run(targets, **options))


@main.command()
@click.argument(
    "files",
    nargs=-1,
    required=True,
    metavar="RECORDS.jsonl...",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
)
@click.option("--json", "json_file", type=OutputFile(), help="Write the records as one file (JSON Lines).")
@click.option("--junit", "junit_file", type=OutputFile(), help="Write JUnit XML.")
@click.option("--all-verdicts", is_flag=True, help="Show every verdict, not one line for each implementation.")
@click.pass_context
def merge(context: click.Context, /, files: tuple[Path, ...], **options: Any) -> None:
    """Join the records of several runs: the table and exit status that one audit of all would have given.

    Exit status 1 also where a shard or a part of it is missing, or two runs contradict each other.
    """
    from opjury.faces import merging

    context.exit(merging.run(files, **options))


@main.command()
@click.argument("operation", required=False)
@click.argument("sizes", nargs=-1, metavar="[WORKLOAD] [SIZE=NUMBER]...")
@click.option("--dtype", help="By default float32, where the operation has it.")
@_device
@click.option("--gradient", is_flag=True, help="Forward and backward together.")
@click.option(
    "--needs",
    multiple=True,
    metavar="second_order|forward_mode|vmap",
    help="Also require this promise to hold (repeatable).",
)
@click.option(
    "--strict",
    is_flag=True,
    help="Rank only implementations that waive nothing and keep to the contract's error bound.",
)
@click.option("--max-error", type=float, help="The largest error allowed, in ulps of the largest element.")
@click.option(
    "--max-memory",
    type=Bytes(),
    metavar="SIZE",
    help="The most memory that a call may take: 64MiB, 1.5GB or a number of bytes.",
)
@click.option(
    "--threads", type=click.IntRange(1), default=1, show_default=True, help="For torch and the libraries beneath NumPy."
)
@click.option("--compile", is_flag=True, help="Also measure each torch implementation under torch.compile.")
@click.option(
    "--with",
    "rivals",
    multiple=True,
    metavar="FILE.py:FUNCTION",
    help="Also judge and measure this function (repeatable).",
)
@click.option(
    "--trust",
    type=click.Path(exists=True, dir_okay=False),
    help="Use the verdicts in this file instead of running an audit.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=6.0,
    show_default=True,
    help="Time for the timed rounds, in seconds.",
)
@click.option("--jobs", type=click.IntRange(1), help="Worker processes of the audit; by default one for each core.")
@_cluster
@click.option("--seed", type=int, help="By default a new one; it is stored in every record.")
@click.option(
    "--sweep", "over", metavar="SIZE=LOW..HIGH", help="Find where the choice changes over a range of one size."
)
@click.option("--emit", type=OutputFile(), help="Write a Python function that dispatches by size as the sweep found.")
@click.option("--json", "json_file", type=OutputFile(), help="Write the records (JSON Lines).")
@click.option(
    "--self-test",
    type=click.IntRange(1),
    metavar="TRIALS",
    help="Measure this machine's false-alarm rate and the smallest slow-down that it detects.",
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
        _refuse_others(context, "--self-test", "self_test", "seed", "seconds")
        context.exit(choosing.run_self_test(self_test, options["seed"] or 0, budget=options["seconds"]))
    if operation is None:
        raise click.UsageError("name an operation: opjury choose OPERATION [WORKLOAD] [SIZE=NUMBER]...")
    context.exit(choosing.run(operation, sizes, **options))


@main.group()
def track() -> None:
    """Watch implementations night after night, and the libraries beneath them."""


_folder = click.option(
    "--history",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("reports", "history"),
    show_default=True,
)
_history = _options(
    _folder,
    click.option("--machine", help="The machine's name in the history; by default the host name."),
)


def _budget(help: str) -> _Decorator:
    return click.option("--budget", type=Duration(), default="40m", show_default=True, help=help)


_night = _options(
    click.argument("operations", nargs=-1, metavar="[OPERATION]..."),
    click.option(
        "--workload", "workloads", multiple=True, metavar="small|medium|large|…", help="Only this (repeatable)."
    ),
    click.option(
        "--device", "devices", multiple=True, help="By default cpu, and cuda where there is one (repeatable)."
    ),
    _budget("After the first audit, for measuring and for more cases: 90s, 40m, 2h."),
    click.option(
        "--seconds",
        type=click.FloatRange(0.05),
        default=2.0,
        show_default=True,
        help="Time for the timed rounds of one contest, in seconds.",
    ),
    click.option(
        "--scale", type=click.FloatRange(0.01), default=1.0, show_default=True, help="Share of the first audit's cases."
    ),
    click.option("--dirty", "allow_dirty", is_flag=True, help="Run although files differ from the commit."),
    _example_db,
    click.option("--no-asv", is_flag=True, help="Do not write asv's results."),
    click.option("--jobs", type=click.IntRange(1), help="Worker processes of the audit; by default one for each core."),
)
_alarms = _options(
    click.option(
        "--nights",
        default="3",
        show_default=True,
        metavar="N|all",
        help="Report only changes that began in the last N nights.",
    ),
    click.option("--no-confirm", is_flag=True, help="Raise alarms without measuring suspects again."),
    click.option(
        "--before",
        metavar="PYTHON",
        default="",
        help="An interpreter with the library versions of earlier nights. Implementations near the best are timed in turns with it.",
    ),
    click.option("--json", "json_file", type=OutputFile(), help="Write the alarms (JSON Lines)."),
    click.option(
        "--markdown",
        "markdown_file",
        type=OutputFile(),
        help="Write a summary for an issue or a pull request.",
    ),
)


@track.command("run")
@_night
@_history
@click.pass_context
def track_run(context: click.Context, /, **options: Any) -> None:
    """Audit, measure and choose at all workloads; add the night to the history.

    A run that was ended goes on where it stood.
    """
    from opjury.faces import tracking

    context.exit(tracking.run(**options))


@track.command("check")
@_history
@_budget("For measuring in turns with --before; trying alarms again has an eighth of it.")
@_alarms
@click.pass_context
def track_check(context: click.Context, /, **options: Any) -> None:
    """Name what changed for the worse. Exit status 1 for an alarm, 3 where there is no history.

    One night alone cannot show a change: no alarm.
    """
    from opjury.faces import tracking

    context.exit(tracking.check(**options))


@track.command("before")
@_history
@click.pass_context
def track_before(context: click.Context, /, **options: Any) -> None:
    """Print the libraries of the last night as requirements, where they are not those of here: for --before.

    \b
    python -m venv before
    before/bin/python -m pip install opjury $(opjury track before)
    """
    from opjury.faces import tracking

    context.exit(tracking.before(**options))


@track.command("publish")
@_folder
@click.pass_context
def track_publish(context: click.Context, /, **options: Any) -> None:
    """Make asv's pages and ours of what is there."""
    from opjury.faces import tracking

    context.exit(tracking.publish(**options))


@track.command("nightly")
@_night
@_history
@_alarms
@click.pass_context
def track_nightly(context: click.Context, /, **options: Any) -> None:
    """run, publish and check in one."""
    from opjury.faces import tracking

    context.exit(tracking.nightly(**options))


@track.command("compare")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@click.argument("targets", nargs=-1, metavar="[OPERATION[:IMPLEMENTATION]]...")
@click.option("--workload", "workloads", multiple=True, default=["medium"], show_default=True, help="Repeatable.")
@click.option("--gradient", is_flag=True, help="Forward and backward together.")
@_device
@click.option(
    "--seconds",
    type=click.FloatRange(0.1),
    default=3.0,
    show_default=True,
    help="Time for each implementation, in seconds.",
)
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The arguments are drawn from it, the same in A and in B."
)
@click.option("--json", "json_file", type=OutputFile(), help="Write the records (JSON Lines).")
@click.pass_context
def track_compare(context: click.Context, /, **options: Any) -> None:
    """Time implementations as they are in A and in B, in turns.

    A, B: a commit, `.` for the files as they are, or the path of a Python interpreter (another environment).
    """
    from opjury.faces import tracking

    context.exit(tracking.compare(**options))


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
@click.option("--table", type=OutputFile(), help="Write measurements and verdicts as CSV.")
@click.option("--sarif", type=OutputFile(), help="Write what is refuted as SARIF, for code scanning.")
@click.option("--junit", type=OutputFile(), help="Write JUnit XML.")
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
    """Try the counterexamples in FILE (records, or a replay script) again.

    Exit status 1 where one still refutes what should hold up, 3 where none can be tried here: a function of your own has its script.
    A script only shows what comes out; its status is 1 where it ends with an error.
    """
    from opjury.faces import auditing

    context.exit(auditing.replay(file))


@main.command()
def schema() -> None:
    """Print the JSON schema of a record."""
    import json

    click.echo(json.dumps(records.schema(), indent=2))


def run() -> None:
    """The entry point: what the world is at fault for becomes one line, never a traceback."""
    try:
        sys.exit(main(standalone_mode=False))
    except (registry.UnknownName, registry.Impossible, records.NoRecord, disk.Unwritable) as error:
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
