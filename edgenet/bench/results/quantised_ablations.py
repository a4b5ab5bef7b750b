"""What decides whether each format trains: settings tried on the validation images, of which the tables use the first.

A row's name begins with its question. All of them train as the rows of the tables do, for as many epochs.
"""

from __future__ import annotations

from typing import Any

from edgenet.bench.results.quantised_mnist import HINGE, PULLED, RHO, SIGNS, START, binary, powers, structured, unified
from edgenet.bench.results.quantised_run import Row


def questions(net: str) -> dict[str, list[Row]]:
    """{what is asked: its answers}, the one that the tables use first."""

    def row(text: str, settings: dict[str, Any]) -> Row:
        return Row("tried", text, net, settings=settings)

    def bnn(
        text: str, options: dict[str, Any] = SIGNS, restated: bool = True, loss: str | None = HINGE, **rule: Any
    ) -> Row:
        return Row("tried", f"BNN{text}", net, options, binary(net, **rule), restated=restated, loss=loss)

    def ps(text: str, **rates: float) -> Row:
        return row(f"PS 4, {text}", powers(net, 4, "sign_shift", rates=rates))

    radam = {**powers(net, 4, "sign_shift"), "optimizer": {"name": "radam"}}
    absolute = unified(net, [1, 16], 0.01)
    absolute["callback"][0] |= {"relative": False}
    return {
        "BNN": [
            bnn(""),
            bnn(", no gate in the activations", {"activation": "sign without gate"}),
            Row(
                "tried", "BNN, no gate, no clipping of latents", net, SIGNS, binary_ungated(net),
                restated=True, loss=HINGE,
            ),
            bnn(", latents at the rate of all", rate=1.0),
            bnn(", latents drawn from [-1, 1]", start="uniform"),
            bnn(", cross-entropy", loss=None),
            bnn(", statistics of batch norms as they run", restated=False),
        ],
        "DeepShift-Q, 3 bits": [
            row("Q 3, scale 2^k a layer", powers(net, 3)),
            row("Q 3, scale 2^k a row", powers(net, 3, per="row")),
            row("Q 3, no scale", powers(net, 3, per="none")),
        ],
        "DeepShift-PS, 4 bits": [
            ps("shifts 0.1, signs 0.05"),
            ps("shifts 0.02, signs 0.05", shift=0.02),
            ps("shifts 0.4, signs 0.05", shift=0.4),
            ps("shifts 0.1, signs 0.01", sign=0.01),
            ps("shifts 0.1, signs 0.2", sign=0.2),
            row("PS 4, RAdam for Adam", radam),
            row("PS 4, no scale, from the start", powers(net, 4, "sign_shift", epoch=0, per="none")),
            row("PS 4, scale 2^k a layer, from the start", powers(net, 4, "sign_shift", epoch=0)),
            row("PS 4, gradients of signs times 2^p", powers(net, 4, "sign_shift", scaled_sign=True)),
        ],
        "unified blocks, at once": [
            row(f"unified {text}, before epoch {START}", unified(net, block))
            for text, block in (
                ("1 x 16", [1, 16]),
                ("16 x 1", [16, 1]),
                ("4 x 4", [4, 4]),
                ("auto", "auto"),
            )
        ]
        + [
            row("unified 1 x 16, as late as after ADMM", unified(net, [1, 16], epoch=PULLED[net] + 1)),
        ],
        "ADMM to 1 x 16": [
            row(f"rho {RHO}, relative", unified(net, [1, 16], RHO)),
            *(row(f"rho {rho}, relative", unified(net, [1, 16], rho)) for rho in (RHO / 10, RHO * 10)),
            row("rho 0.01, absolute", absolute),
        ],
        "Kronecker, 10x, 4 bits": [
            row(f"put in before epoch {START}", structured(net, "kronecker", 4)),
            row("put in at the start", structured(net, "kronecker", 4, epoch=0)),
        ],
    }


def binary_ungated(net: str) -> dict[str, Any]:
    """Latents that go where they like."""
    settings = binary(net, clip=False)
    settings["compress"]["plan"] = {
        pattern: {**spec, "gate": False} for pattern, spec in settings["compress"]["plan"].items()
    }
    return settings
