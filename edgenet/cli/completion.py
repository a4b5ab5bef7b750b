"""``edgenet completion``: what makes a shell complete commands, arguments, and names of data sets and layers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator
from typing import NamedTuple

from edgenet.cli.command import Command
from edgenet.cli.printing import say

_HOW = {
    "bash": "edgenet completion bash > ~/.local/share/bash-completion/completions/edgenet",
    "zsh": "echo 'source <(edgenet completion zsh)' >> ~/.zshrc",
    "fish": "edgenet completion fish > ~/.config/fish/completions/edgenet.fish",
}
#: commands whose first arguments are names of data sets, besides files
_NAMES_DATA = ("train", "demo", "data info", "data prepare")


def arguments(parser: argparse.ArgumentParser) -> None:
    """``completion SHELL``."""
    text = "; ".join(f"{name}: {line}" for name, line in _HOW.items())
    parser.add_argument("shell", choices=tuple(_HOW), metavar="SHELL", help=text)


def run(options: argparse.Namespace) -> int:
    """Print the script."""
    found = dict(_words(options.parser))
    say(_fish(found) if options.shell == "fish" else _bash(found, options.shell))
    return 0


class _Next(NamedTuple):
    """What may come next after a command, with its help; and after an option of it, where that is known."""

    words: dict[str, str]
    values: dict[str, list[str]]


def _words(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, _Next]]:
    """For every command, by its names with spaces between: what may come next."""
    from edgenet.data.facts import FACTS

    found: dict[str, str] = {}
    values: dict[str, list[str]] = {}
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--"):
                found[option] = action.help or ""
            if option == "--data" or action.choices:
                values[option] = list(map(str, action.choices or FACTS))
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for name, sub in action.choices.items():
                found[name] = helps.get(name, "")
                yield from _words(sub, f"{path} {name}".strip())
        elif not action.option_strings and action.choices:
            found |= {str(choice): "" for choice in action.choices}
    if path in _NAMES_DATA:
        found |= {name: facts.title for name, facts in FACTS.items()}
    yield path, _Next(found, values)


def _bash(found: dict[str, _Next], shell: str) -> str:
    """Also for zsh, which reads it by ``bashcompinit``."""
    steps = "\n".join(f'            {shlex.quote(path)}) path="$next" ;;' for path in sorted(found) if path)
    told = {path: known.words for path, known in sorted(found.items())}
    after = {f"{path} {option}": v for path, known in sorted(found.items()) for option, v in known.values.items()}
    cases, more = (
        "\n".join(f"        {shlex.quote(at)}) words={shlex.quote(' '.join(those))} ;;" for at, those in one.items())
        for one in (told, after)
    )
    begin = "autoload -U +X bashcompinit && bashcompinit\n" if shell == "zsh" else ""
    return f"""{begin}_edgenet() {{
    local current="${{COMP_WORDS[COMP_CWORD]}}" path="" next words="" place
    for ((place = 1; place < COMP_CWORD; place++)); do
        next="${{path:+$path }}${{COMP_WORDS[place]}}"
        case "$next" in
{steps}
        esac
    done
    case "$path" in
{cases}
    esac
    case "$path ${{COMP_WORDS[COMP_CWORD - 1]}}" in
{more}
    esac
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _edgenet edgenet"""


def _fish(found: dict[str, _Next]) -> str:
    lines = []
    for path, known in sorted(found.items()):
        names = path.split()
        deeper = sorted({other.split()[len(names)] for other in found if other.startswith(f"{path} ".lstrip())
                         and len(other.split()) > len(names)})  # fmt: skip
        parts = [f"__fish_seen_subcommand_from {name}" for name in names]
        if deeper:
            parts.append(f"not __fish_seen_subcommand_from {' '.join(deeper)}")
        when = "; and ".join(parts) or "true"
        for word, text in known.words.items():
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {shlex.quote(word)}"
            values = f" -r -a {shlex.quote(' '.join(known.values[word]))}" if word in known.values else ""
            described = f" -d {shlex.quote(text.splitlines()[0].replace('%%', '%'))}" if text else ""
            lines.append(f"complete -c edgenet -n {shlex.quote(when)} {what}{values}{described}")
    return "\n".join(lines)


COMMAND = Command("print what makes your shell complete commands and arguments", arguments, run)
