"""``edgenet completion``: what makes a shell complete commands, arguments, and names of data sets and layers."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator

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
    words = dict(_words(options.parser))
    say(_fish(words) if options.shell == "fish" else _bash(words, options.shell))
    return 0


def _words(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, dict[str, str]]]:
    """For every command, by its names with spaces between: what may come next, with its help."""
    from edgenet.data.facts import FACTS

    found: dict[str, str] = {}
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--"):
                found[option] = action.help or ""
        if isinstance(action, argparse._SubParsersAction):
            helps = {one.dest: one.help or "" for one in action._choices_actions}
            for name, sub in action.choices.items():
                found[name] = helps.get(name, "")
                yield from _words(sub, f"{path} {name}".strip())
        elif not action.option_strings and action.choices:
            found |= {str(choice): "" for choice in action.choices}
    if path in _NAMES_DATA:
        found |= {name: facts.title for name, facts in FACTS.items()}
    yield path, found


def _bash(words: dict[str, dict[str, str]], shell: str) -> str:
    """Also for zsh, which reads it by ``bashcompinit``."""
    deeper = sorted(path for path in words if path)
    steps = "\n".join(f'            {shlex.quote(path)}) path="$next" ;;' for path in deeper)
    cases = "\n".join(
        f"        {shlex.quote(path)}) words={shlex.quote(' '.join(found))} ;;" for path, found in sorted(words.items())
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
    COMPREPLY=($(compgen -W "$words" -- "$current"))
}}
complete -o default -F _edgenet edgenet"""


def _fish(words: dict[str, dict[str, str]]) -> str:
    lines = []
    for path, found in sorted(words.items()):
        names = path.split()
        deeper = sorted({other.split()[len(names)] for other in words if other.startswith(f"{path} ".lstrip())
                         and len(other.split()) > len(names)})  # fmt: skip
        parts = [f"__fish_seen_subcommand_from {name}" for name in names]
        if deeper:
            parts.append(f"not __fish_seen_subcommand_from {' '.join(deeper)}")
        when = "; and ".join(parts) or "true"
        for word, text in found.items():
            what = f"-l {word[2:]}" if word.startswith("--") else f"-a {shlex.quote(word)}"
            described = f" -d {shlex.quote(text.splitlines()[0].replace('%%', '%'))}" if text else ""
            lines.append(f"complete -c edgenet -n {shlex.quote(when)} {what}{described}")
    return "\n".join(lines)


COMMAND = Command("print what makes your shell complete commands and arguments", arguments, run)
