"""Whether a loaded model is the one that its card describes, in the precision that it is loaded in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import torch

from models.metrics import report
from models.superresolution import upscale
from service.validation import close

if TYPE_CHECKING:
    from models.catalogue import Card, HeldOut
    from models.superresolution import SuperResolution

# Of a consistent model. The models shipped have 2e-7 to 6e-7 in float32 and in bfloat16, which spares that step.
CONSISTENCY: Final = 1e-5


def fault(model: SuperResolution, card: Card, sample: HeldOut, tolerance: float) -> str | None:
    """How the answer of a model to the sample that is shipped with it departs from its card; None if it does not.

    Args:
        model: loaded.
        card: of the model.
        sample: that the card tells the error on.
        tolerance: of the error, relative.
    """
    answer, middle = upscale(model, sample.coarse, sample.boundary), sample.coarse[len(sample.coarse) // 2]
    found = report(*map(torch.from_numpy, (answer, sample.fine, middle)), boundary=sample.boundary)
    error, promised, consistency = (found["mae_over_rms"], card.sample.get("mae_over_rms"), found["consistency"])
    if not close(error, promised, tolerance):
        return f"its MAE over rms is {error}, its card says {promised}"
    if card.consistent and not (isinstance(consistency, float) and consistency <= CONSISTENCY):
        return f"its consistency is {consistency}, expected at most {CONSISTENCY}"
    return None
