"""The `interp` command: parse, call a public function, print, exit.

Exit codes: 0 done; 2 a mistake the user can mend; 3 a file is not what was written; 4 the machine ran out
(disk, permission, memory); 130 interrupted. A mistake of the user gets one line, never a traceback.
Heavy imports stay inside the commands, so that `interp --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Any

from cyclopts import App, CycloptsError, Parameter

from analyses.cli_atlas import atlas
from analyses.cli_dashboard import dashboard
from analyses.cli_doctor import doctor
from analyses.cli_look import points, report, show_tokens, status
from analyses.cli_probe import probe
from analyses.cli_run import alone, run
from analyses.cli_sae import eval_sae, train_sae
from analyses.cli_select import select
from analyses.cli_worth import evaluate
from analyses.terminal import flowing
from interp import __version__
from interp.errors import InterpError

EPILOGUE = """Examples:
  interp run                      all analyses on the bundled model
  interp run geospatial --places my.csv --out runs/mine
  interp run --model ./my-model --sae ./my-sae --places cities
  interp points atlas
  interp show-tokens atlas "Paris is near Lyon"
  interp status runs/atlas
  interp doctor"""

app = App(
    name="interp",
    help="Measure what a transformer represents, with the null beside every number.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=()),  # no --empty-sites beside --sites
    version=__version__,
    suppress_keyboard_interrupt=False,  # main says what an interrupted run has kept
)
selecting = App(name="select")
selecting.default(select)
selecting.command(evaluate)
COMMANDS = (run, probe, dashboard, points, show_tokens, status, report, train_sae, eval_sae, doctor, atlas, selecting)
for command in COMMANDS:
    app.command(command)
for name, analysis in (("geo", "geospatial"), ("attention", "attention"), ("polysemanticity", "polysemanticity")):
    app.command(alone(analysis), name=name)
app.register_install_completion_command(help="Complete commands in the shell (bash, zsh, fish).")


def let_help_flow(parent: App) -> None:
    """Join the lines of every command's docstring, which are as wide as the source, not as the terminal."""
    for name in parent:
        if not name.startswith("-"):
            child = parent[name]
            child.help_epilogue = ""  # each has examples of its own
            let_help_flow(child)
            if child.default_command is not None:
                child.default_command.__doc__ = flowing(child.default_command.__doc__ or "")


let_help_flow(app)


def main(tokens: list[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    try:
        return app(tokens, exit_on_error=False, print_error=True, result_action="return_value") or 0
    except CycloptsError:
        return 2
    except InterpError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted; what is finished is kept: run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of a pipe has gone, as with `| head`
        sys.stderr.close()
        return 0
    except MemoryError as error:
        print(f"error: not enough memory ({error}); use fewer places or sites at once.", file=sys.stderr)
        return 4
    except OSError as error:
        print(f"error: {error}", file=sys.stderr)
        return 4


def entry() -> Any:
    """Console entry point."""
    raise SystemExit(main())


if __name__ == "__main__":  # python -m analyses.cli, as torchrun starts it
    entry()
