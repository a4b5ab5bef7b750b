"""The sub-commands by name, in the order in which help lists them. ``edgenet.register`` adds to them."""

from edgenet.cli import (
    bench,
    completion,
    compress,
    convert,
    data,
    demo,
    doctor,
    export,
    inspect,
    predict,
    report,
    train,
)
from edgenet.cli.command import Command

COMMANDS: dict[str, Command] = {
    "train": train.COMMAND,
    "predict": predict.COMMAND,
    "data": data.COMMAND,
    "inspect": inspect.COMMAND,
    "convert": convert.COMMAND,
    "compress": compress.COMMAND,
    "export": export.COMMAND,
    "report": report.COMMAND,
    "demo": demo.COMMAND,
    "bench": bench.COMMAND,
    "doctor": doctor.COMMAND,
    "completion": completion.COMMAND,
}
